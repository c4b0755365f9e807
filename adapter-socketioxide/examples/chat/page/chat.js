// The page. It is the same on both servers, and knows nothing of what they are written in.

const ROOMS = ["lobby", "kitchen", "garden"];
const NAMES = ["Ada", "Ben", "Cleo", "Dora", "Emil", "Fay", "Gus", "Hedy", "Ira", "Juno"];
const SHORT = { rust: "Rust", node: "Node.js" };

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const me = {
  name: query.get("name") ?? NAMES[Math.floor(Math.random() * NAMES.length)],
  room: query.get("room") ?? ROOMS[0],
};
let here; // this page's server, as soon as it is known
let servers = [];
let people = [];
let isTyping = false;
const links = {}; // of each server, what it has said of its link
const typing = new Set();
let wasAway = false;

const socket = io({ reconnectionDelayMax: 1_000 });

function element(kind, className, text) {
  const made = document.createElement(kind);
  made.className = className;
  made.textContent = text ?? "";
  return made;
}

function badge(server) {
  return element("b", `badge ${server}`, SHORT[server] ?? server);
}

// -- what comes from the server

socket.on("connect", () => {
  $("gone").hidden = true;
  if (wasAway) {
    note("Connected again.");
  }
  enter();
  show();
});
socket.on("disconnect", () => {
  wasAway = true;
  isTyping = false;
  typing.clear();
  const other = servers.find(({ key, running }) => key !== here && running);
  $("gone").replaceChildren("This page's server is gone. What is said meanwhile doesn't reach this page. ");
  if (other) {
    const link = element("a", "", "Go on at the other server");
    link.href = `${other.url}/?${new URLSearchParams(me)}`;
    $("gone").append(link, ".");
  }
  $("gone").hidden = false;
  servers = servers.map((server) => (server.key === here ? { ...server, running: false } : server));
  people = people.filter(({ server }) => server !== here);
  note("The connection to the server is lost.", true);
  show();
});
socket.on("servers", (all) => {
  servers = all;
  show();
});
socket.on("people", (all) => {
  people = all;
  for (const name of typing) {
    if (!people.some((person) => person.name === name && person.room === me.room)) {
      typing.delete(name);
    }
  }
  show();
});
socket.on("link", (link) => {
  here = link.server;
  links[here] = link;
  show();
});
socket.on("notice", (text) => note(text, /down|lost/.test(text)));
socket.on("typing", (name, does) => {
  does ? typing.add(name) : typing.delete(name);
  showTyping();
});
socket.on("message", ({ id, name, room, server, text }) => {
  if (room !== me.room) {
    return; // it was on its way when this page left the room
  }
  // A message that comes twice is shown twice.
  const item = element("li", `said ${server}`);
  const who = element("span", "who");
  who.append(element("b", "", name), badge(server), element("time", "", clock()), element("span", "fate"));
  item.append(who, element("span", "what", text));
  item.dataset.id = id;
  if (mine.has(id)) {
    item.classList.add("mine");
    showFate(item, mine.get(id));
  }
  append(item);
});

// -- what goes to the server

const mine = new Map(); // id → undefined while its fate is open, null when it was published, or the reason why not
let count = 0;
const page = Math.random().toString(36).slice(2);

function enter() {
  socket.emit("enter", me.name, me.room);
}

$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (text === "" || !socket.connected) {
    return;
  }
  const id = `${page}-${count++}`;
  mine.set(id, undefined);
  socket.emit("say", id, text, (failure) => {
    mine.set(id, failure);
    document.querySelectorAll(`[data-id="${id}"]`).forEach((item) => showFate(item, failure));
  });
  $("text").value = "";
  setTyping(false);
});

$("text").addEventListener("input", () => setTyping($("text").value !== ""));

function setTyping(is) {
  if (is !== isTyping) {
    isTyping = is;
    socket.emit("typing", is);
  }
}

$("name").value = me.name;
$("name").addEventListener("change", () => {
  setTyping(false);
  me.name = $("name").value.trim() || me.name;
  $("name").value = me.name;
  enter();
});

function moveTo(room) {
  if (room !== me.room) {
    $("text").value = "";
    setTyping(false);
    me.room = room;
    typing.clear();
    $("messages").replaceChildren();
    enter();
    show();
  }
}

// -- the page

function clock() {
  return new Date().toLocaleTimeString([], { hour12: false });
}

function append(item) {
  const list = $("messages");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  list.append(item);
  if (atEnd) {
    list.scrollTop = list.scrollHeight;
  }
}

function note(text, isBad) {
  append(element("li", isBad ? "note bad" : "note", `${clock()} · ${text}`));
}

function showFate(item, failure) {
  const isOpen = failure === undefined;
  const waits = isOpen && links[here]?.up === false;
  item.classList.toggle("waiting", waits);
  if (waits) {
    item.dataset.waited = ""; // it stays, for those who look later
  }
  item.querySelector(".fate").textContent = isOpen ? "waits for Redis …" : failure === null ? "✓" : failure;
}

function setComposer(enabled) {
  for (const field of $("say").elements) {
    field.disabled = !enabled;
  }
  $("text").placeholder = enabled ? `Say something in the ${me.room}` : "Waiting for the server …";
}

function showTyping() {
  const names = [...typing];
  const who = names.length > 2 ? "Several people are" : names.length === 2 ? `${names.join(" and ")} are` : `${names[0]} is`;
  $("typing").textContent = names.length === 0 ? "" : `${who} typing …`;
}

function stateOf({ key, running, cut }) {
  if (!running) {
    return ["dead", "not running"];
  }
  // A page sees of its own server what that server has noticed, too.
  const isDown = key === here && links[key]?.up === false;
  return cut || isDown ? ["cut", "running, cut off from Redis"] : ["", "running, linked to Redis"];
}

function countsOf(key) {
  const link = links[key];
  if (key !== here || link === undefined) {
    return "";
  }
  const outages = `${link.outages} ${link.outages === 1 ? "outage" : "outages"}`;
  return link.lost === null ? `${outages}; losses are not reported` : `${outages}, ${link.lost} messages lost`;
}

function showServer(server) {
  const card = $("server").content.firstElementChild.cloneNode(true);
  const [state, text] = stateOf(server);
  card.className = `server ${server.key} ${state}`;
  card.querySelector(".title").textContent = server.title;
  if (server.key !== here) {
    card.querySelector(".title").href = server.url;
  }
  card.querySelector(".you").hidden = server.key !== here;
  card.querySelector(".state").textContent = text;
  card.querySelector(".counts").textContent = countsOf(server.key);
  for (const order of ["cut", "kill", "start"]) {
    const button = card.querySelector(`.${order}`);
    button.hidden = (order === "start") === server.running;
    button.disabled = !socket.connected || (order === "cut" && server.cut);
    button.addEventListener("click", () => socket.emit("order", { [order]: server.key }));
  }
  return card;
}

function show() {
  $("here").textContent = servers.find(({ key }) => key === here)?.title ?? "…";
  $("here").className = `badge ${here}`;
  const parts = servers.flatMap((server) => {
    const wire = element("i", `wire ${{ dead: "idle", cut: "broken" }[stateOf(server)[0]] ?? ""}`);
    return server === servers[0] ? [showServer(server), wire, element("b", "redis", "Redis")] : [wire, showServer(server)];
  });
  $("cluster").replaceChildren(...parts);

  $("rooms").replaceChildren(...ROOMS.map((room) => {
    const item = element("li", room === me.room ? "current" : "");
    const button = element("button", "", `# ${room}`);
    button.append(element("span", "", people.filter((person) => person.room === room).length || ""));
    button.addEventListener("click", () => moveTo(room));
    item.append(button);
    return item;
  }));

  const sorted = [...people].sort((a, b) => a.name.localeCompare(b.name));
  $("people").replaceChildren(...sorted.map(({ name, room, server }) => {
    const item = element("li", server);
    const who = element("span", "name", name);
    who.append(element("small", "", `# ${room}`));
    item.append(who, badge(server));
    return item;
  }));
  document.querySelectorAll(".said.mine").forEach((item) => showFate(item, mine.get(item.dataset.id)));
  setComposer(socket.connected);
  showTyping();
}

show();
