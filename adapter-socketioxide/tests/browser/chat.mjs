// People at the pages of the example `chat`, in headless Chromium: node chat.mjs <Chromium> <URL of the Rust server> <URL of the Node.js server>
//
// Each step waits for what a person would see. With SIO_STREAMS_SCREENSHOT=<file>, a picture of two pages is written there.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const require = createRequire(new URL("../../../tests/interop/peers/package.json", import.meta.url));
const { chromium } = require("playwright-core");

// The time limit for anything to be seen. It is generous: a busy machine is no failure.
const LIMIT = 120_000;
// The number of outages that may be over before anybody says a word.
const TRIES = 20;

const [executablePath, rust, node] = process.argv.slice(2);
const picture = process.env.SIO_STREAMS_SCREENSHOT;
const errors = [];

const profile = await mkdtemp(join(tmpdir(), "sio-streams-chromium-"));
const browser = await chromium.launch({
  executablePath,
  env: { ...process.env, HOME: profile },
  // The pages are the project's own, and root may not use the sandbox.
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic"],
});

class Person {
  static async at(url, name) {
    const context = await browser.newContext({ viewport: { width: 760, height: 630 } });
    const page = await context.newPage();
    page.setDefaultTimeout(LIMIT);
    page.on("pageerror", (error) => errors.push(`${name}: ${error.stack}`));
    await page.goto(`${url}/?name=${name}`);
    return Object.assign(new Person(), { page, name });
  }

  sees(selector, text) {
    const found = this.page.locator(selector, text === undefined ? {} : { hasText: text });
    return found.first().waitFor();
  }

  seesNoMore(selector, text) {
    const found = this.page.locator(selector, text === undefined ? {} : { hasText: text });
    return this.page.waitForFunction(([selector, text]) =>
      [...document.querySelectorAll(selector)].every((found) => found.hidden || (text && !found.textContent.includes(text))), [selector, text]);
  }

  press(selector) {
    return this.page.locator(selector).click();
  }

  async says(text) {
    await this.page.fill("#text:enabled", text);
    await this.page.press("#text", "Enter");
    await this.hears(text);
  }

  hears(text) {
    return this.page.getByText(text, { exact: true }).first().waitFor();
  }

  // The outages of the page's server that it has noticed.
  async outages() {
    return Number.parseInt(await this.page.locator(".counts:not(:empty)").textContent());
  }

  seesOutages(count) {
    return this.page.waitForFunction((count) =>
      [...document.querySelectorAll(".counts")].some((found) => Number.parseInt(found.textContent) >= count), count);
  }

  // All messages on the page, in order.
  messages() {
    return this.page.locator("#messages .what").allTextContents();
  }
}

async function step(name, run) {
  console.log(name);
  const result = await run();
  assert.deepEqual(errors, [], "errors in a page");
  return result;
}

async function takePicture(pages) {
  const shots = await Promise.all(pages.map((page) => page.screenshot()));
  const images = shots.map((shot) => `<img src="data:image/png;base64,${shot.toString("base64")}">`);
  const page = await browser.newPage({ viewport: { width: 1568, height: 662 } });
  const style = "margin: 0; padding: 16px; display: flex; gap: 16px; background: #c9d1da";
  await page.setContent(`<body style="${style}">${images.join("")}`);
  await page.screenshot({ path: picture });
  await page.close();
}

async function run() {
  const ada = await Person.at(rust, "Ada");
  const ben = await Person.at(node, "Ben");
  const both = [ada, ben];

  await step("everybody sees who is on which server", async () => {
    for (const person of both) {
      await person.sees("#people .rust .name", "Ada");
      await person.sees("#people .node .name", "Ben");
      await person.sees("#rooms .current span", "2");
      await person.sees(".server.rust .state", "linked to Redis");
      await person.sees(".server.node .state", "linked to Redis");
    }
  });

  await step("they talk, and see who is typing", async () => {
    await ada.says("Hello from the Rust server!");
    await ben.hears("Hello from the Rust server!");
    await ben.says("And hello from Node.js.");
    await ada.hears("And hello from Node.js.");
    await ada.sees("#messages .mine .fate", "✓");
    for (const [speaker, other] of [[ada, ben], [ben, ada]]) {
      await speaker.page.locator("#text").pressSequentially("Do you see");
      await other.sees("#typing", `${speaker.name} is typing`);
      await speaker.page.fill("#text", "");
      await other.seesNoMore("#typing", "typing");
    }
  });

  await step("what is said in another room is not heard", async () => {
    await ben.press("#rooms >> text=kitchen");
    for (const person of both) {
      await person.sees("#people .node small", "kitchen");
    }
    await ada.says("Is anybody here?");
    await ben.press("#rooms >> text=lobby");
    await ada.sees("#people .node small", "lobby");
    // It is behind the other message on its way.
    await ada.says("Ah, there you are.");
    await ben.hears("Ah, there you are.");
    assert.deepEqual(await ben.messages(), ["Ah, there you are."]);
  });

  if (picture) {
    await step("the picture", async () => {
      const moveTo = async (room) => {
        await Promise.all(both.map((person) => person.press(`#rooms >> text=${room}`)));
        for (const person of both) {
          await person.sees("#people .rust small", room);
          await person.sees("#people .node small", room);
        }
      };
      await moveTo("garden");
      for (const [speaker, other, text] of [
        [ada, ben, "Hello from the Rust server!"],
        [ben, ada, "And hello from Node.js."],
        [ada, ben, "I'm going to cut my server's link to Redis."],
        [ben, ada, "Say something meanwhile."],
      ]) {
        await speaker.says(text);
        await other.hears(text);
      }
      await ben.page.locator("#text").pressSequentially("Nothing so far");
      await ada.sees("#typing", "Ben is typing");
      await ada.press(".server.rust .cut");
      await ada.seesOutages(1);
      await ada.says("This waits until Redis is back.");
      await takePicture(both.map(({ page }) => page));
      await ben.page.fill("#text", "");
      await ben.hears("This waits until Redis is back.");
      await moveTo("lobby");
    });
  }

  await step("the link of the Rust server is cut, and nothing is lost or doubled", async () => {
    const said = { Ada: [], Ben: [] };
    const before = await Promise.all(both.map((person) => person.messages()));
    const say = async (person) => {
      const text = `${person.name} ${said[person.name].length + 1}`;
      said[person.name].push(text);
      await person.says(text);
    };
    const waited = () => ada.page.locator("#messages .mine[data-waited]").count();
    const waitedBefore = await waited();
    for (let tries = 0; (await waited()) === waitedBefore; tries++) {
      assert.ok(tries < TRIES, "no message was said while the link was down");
      const outages = await ada.outages();
      await ada.press(".server.rust .cut");
      let isOver = false;
      const outage = ada.seesOutages(outages + 1)
        .then(() => ada.sees(".server.rust .state", "linked to Redis"))
        .finally(() => (isOver = true));
      while (!isOver) {
        await Promise.all(both.map(say));
      }
      await outage;
    }
    console.log(`  ${(await waited()) - waitedBefore} of ${said.Ada.length} messages waited for Redis`);
    // A message that came twice would come before the last words.
    for (const person of both) {
      await say(person);
    }
    for (const person of both) {
      await person.hears(said.Ada.at(-1));
      await person.hears(said.Ben.at(-1));
    }
    for (const [at, person] of both.entries()) {
      const all = (await person.messages()).slice(before[at].length);
      for (const { name } of both) {
        assert.deepEqual(all.filter((text) => text.startsWith(name)), said[name], `what ${person.name} heard of ${name}`);
      }
      assert.equal(all.length, said.Ada.length + said.Ben.length);
    }
    await ada.seesNoMore("#messages .waiting");
    await ada.sees(".server.rust .counts", "0 messages lost");
  });

  await step("the link of the Node.js server is cut and comes back", async () => {
    await ada.press(".server.node .cut");
    await ben.seesOutages(1);
    await ben.sees("#messages .note", "The link to Redis is back.");
    for (const person of both) {
      await person.sees(".server.node .state", "linked to Redis");
    }
    await ben.says("We are back.");
    await ada.hears("We are back.");
    await ada.says("So you are.");
    await ben.hears("So you are.");
  });

  await step("the Rust server is killed, and the other goes on", async () => {
    await ben.press(".server.rust .kill");
    await ben.sees(".server.rust.dead .state", "not running");
    await ben.seesNoMore("#people .rust");
    await ada.sees("#gone", "This page's server is gone.");
    await ada.press("#gone a");
    await ada.sees("#people .node .name", "Ada");
    await ben.sees("#people .node .name", "Ada");
    await ada.says("Now I am here.");
    await ben.hears("Now I am here.");
  });

  const cleo = await step("the Rust server is started again", async () => {
    await ben.press(".server.rust .start");
    await ben.sees(".server.rust .state", "linked to Redis");
    const cleo = await Person.at(rust, "Cleo");
    await cleo.sees("#people .node .name", "Ben");
    await ben.sees("#people .rust .name", "Cleo");
    await cleo.says("Here is Rust again.");
    await ben.hears("Here is Rust again.");
    await ben.says("Welcome back.");
    await cleo.hears("Welcome back.");
    return cleo;
  });

  await step("the Node.js server is killed, and the other goes on", async () => {
    const dora = await Person.at(rust, "Dora");
    await cleo.sees("#people .rust .name", "Dora");
    await cleo.press(".server.node .kill");
    await cleo.sees(".server.node.dead .state", "not running");
    await cleo.seesNoMore("#people .node");
    await ben.sees("#gone", "This page's server is gone.");
    await cleo.says("The two of us, then.");
    await dora.hears("The two of us, then.");
  });
}

try {
  await run();
} finally {
  await browser.close();
  await rm(profile, { recursive: true, force: true });
}
