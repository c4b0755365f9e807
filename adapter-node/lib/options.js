// The options: the names and defaults of the official adapters, and their checks.
"use strict";

const DIALECTS = ["streams-0.2", "streams-0.3", "bridge", "sharded", "classic"];

const text = (value) => typeof value === "string" && value !== "";
const count = (value) => Number.isSafeInteger(value) && value >= 0;
const flag = (value) => typeof value === "boolean";
const one = (...values) => Object.assign((value) => values.includes(value), { expected: `one of ${values.join(", ")}` });
text.expected = "a text";
count.expected = "a whole number";
flag.expected = "true or false";

// By name: the check, and the name that the engine knows it by.
const CONFIG = {
  dialect: [one(...DIALECTS), "dialect"],
  streamName: [text, "stream_name"],
  streamCount: [count, "stream_count"],
  channelPrefix: [text, "channel_prefix"],
  key: [text, "channel_prefix"],
  useShardedPubSub: [flag, "use_sharded_pub_sub"],
  subscriptionMode: [one("static", "dynamic", "dynamic-private"), "subscription_mode"],
  publishOnSpecificResponseChannel: [flag, "publish_on_specific_response_channel"],
  maxLen: [count, "max_len"],
  readCount: [count, "read_count"],
  blockTimeInMs: [count, "block_time"],
  heartbeatInterval: [count, "heartbeat_interval"],
  heartbeatTimeout: [count, "heartbeat_timeout"],
  requestsTimeout: [count, "request_timeout"],
};

const LIMITS = {
  inFlight: [count, "in_flight"],
  inFlightBytes: [count, "in_flight_bytes"],
  inFlightFor: [count, "in_flight_for"],
  requests: [count, "requests"],
};

const TLS = { ca: [text, "ca"], cert: [text, "cert"], key: [text, "key"] };
const SENTINEL = { name: [text, "name"], url: [text, "url"] };

// A loop of JavaScript may say much before anything can be sent, and has no way to wait.
const ROOMY = { in_flight: 1_000_000, in_flight_bytes: 256 << 20 };

const OTHERS = {
  url: text,
  also: Object.assign((value) => Array.isArray(value) && value.every(text), { expected: "an array of host:port" }),
  cluster: flag,
  password: text,
  sessionKeyPrefix: text,
  onlyPlaintext: flag,
};

function check(name, value, isValid) {
  if (!isValid(value)) {
    throw new TypeError(`the option ${name} is ${isValid.expected}, not ${describe(value)}`);
  }
}

function describe(value) {
  return typeof value === "string" ? JSON.stringify(value) : typeof value === "object" ? "an object" : String(value);
}

// Reads options by a table. Those that are undefined count as absent.
function read(options, table, path) {
  const result = {};
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) {
      continue;
    }
    if (!Object.hasOwn(table, name)) {
      throw new TypeError(`there is no option ${path}${name}`);
    }
    check(path + name, value, table[name][0]);
    result[table[name][1]] = value;
  }
  return result;
}

// Reads an option that has options of its own.
function part(options, name, table) {
  const value = options[name];
  if (value === undefined) {
    return undefined;
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    throw new TypeError(`the option ${name} is an object, not ${Array.isArray(value) ? "an array" : describe(value)}`);
  }
  return read(value, table, `${name}.`);
}

// Reads what `createAdapter` is given.
function readOptions(options = {}) {
  if (options === null || typeof options !== "object") {
    throw new TypeError(`the options are an object, not ${describe(options)}`);
  }
  if (typeof options.duplicate === "function" || typeof options.sendCommand === "function") {
    throw new TypeError("this adapter has connections of its own: give it { url } instead of a Redis client");
  }
  const config = {};
  const others = {};
  // Each option is read once.
  const given = { ...options };
  const tls = part(given, "tls", TLS);
  const sentinel = part(given, "sentinel", SENTINEL);
  const limits = part(given, "limits", LIMITS);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || ["tls", "sentinel", "limits"].includes(name)) {
      continue;
    }
    if (Object.hasOwn(OTHERS, name)) {
      check(name, value, OTHERS[name]);
      others[name] = value;
    } else {
      Object.assign(config, read({ [name]: value }, CONFIG, ""));
    }
  }
  const dialect = config.dialect ?? "streams-0.3";
  return {
    dialect,
    hasStreams: !["sharded", "classic"].includes(dialect),
    hasRoomChannels: dialect === "sharded" && config.subscription_mode !== "static",
    onlyPlaintext: others.onlyPlaintext ?? false,
    sessionKeyPrefix: others.sessionKeyPrefix ?? "sio:session:",
    config: { ...config, limits: { ...ROOMY, ...limits } },
    connection: {
      url: others.url ?? "redis://127.0.0.1:6379",
      also: others.also ?? [],
      cluster: others.cluster ?? false,
      password: others.password,
      master: sentinel?.name,
      server_url: sentinel?.url,
      tls: tls ?? {},
    },
  };
}

// The names of all options.
function optionNames() {
  return [...Object.keys(CONFIG), ...Object.keys(OTHERS), "tls", "sentinel", "limits"];
}

// Puts the engine's words into those of the options.
function inOptionsWords(message) {
  const names = Object.entries({ ...CONFIG, ...LIMITS }).map(([name, [, engine]]) => [engine, name]);
  // `channel_prefix` has two names.
  const byEngine = new Map(names.reverse());
  return message.replace(/\b[a-z]+(?:_[a-z]+)+\b/g, (word) => byEngine.get(word) ?? word);
}

module.exports = { readOptions, optionNames, inOptionsWords };
