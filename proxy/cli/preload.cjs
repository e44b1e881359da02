// Loaded into Node.js programs by `spendgate run` (NODE_OPTIONS=--require=...): leads fetch and the https module through
// HTTPS_PROXY and HTTP_PROXY, which Node itself ignores before 22.21 and 24. Uses nothing but what Node brings along, and
// nothing at all until the program makes its first call. A program with a proxy agent of its own keeps it.
"use strict";

(() => {
  const env = process.env;
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (env.NODE_USE_ENV_PROXY === "1" && (major >= 24 || (major === 22 && minor >= 21))) return; // Node does it itself

  const address = (name) => {
    try {
      return new URL(env[name.toLowerCase()] || env[name]);
    } catch {
      return null;
    }
  };
  const proxies = { "https:": address("HTTPS_PROXY"), "http:": address("HTTP_PROXY") };
  if (!proxies["https:"] && !proxies["http:"]) return;

  const http = require("node:http");
  const https = require("node:https");
  const net = require("node:net");
  const tls = require("node:tls");

  const direct = (env.no_proxy || env.NO_PROXY || "")
    .split(/[\s,]+/)
    .filter(Boolean)
    .map((name) => name.toLowerCase().replace(/^\*?\./, ""));

  // The proxy for a host, or null: it is to be reached directly.
  function proxyFor(protocol, host) {
    const name = host.toLowerCase().replace(/^\[|\]$/g, "");
    if (direct.some((known) => known === "*" || name === known || name.endsWith(`.${known}`))) return null;
    return proxies[protocol] || null;
  }

  function credentials(proxy) {
    if (!proxy.username && !proxy.password) return {};
    const pair = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
    return { "proxy-authorization": `Basic ${Buffer.from(pair).toString("base64")}` };
  }

  // CONNECT through the proxy; done(error, socket).
  function tunnel(proxy, host, port, done) {
    const authority = `${net.isIPv6(host) ? `[${host}]` : host}:${port}`;
    const request = http.request({
      host: proxy.hostname.replace(/^\[|\]$/g, ""),
      port: proxy.port || 80,
      method: "CONNECT",
      path: authority,
      headers: { host: authority, ...credentials(proxy) },
      agent: false,
    });
    request.once("connect", (response, socket) => {
      if (response.statusCode === 200) return done(null, socket);
      socket.destroy();
      const reason = response.headers["x-spendgate-reason"] || response.statusMessage;
      done(new Error(`the proxy refused the connection to ${authority}: ${response.statusCode} ${reason}`));
    });
    request.once("error", done);
    request.end();
  }

  // --- the https module, and whatever is built on its agent (node-fetch, axios, got) ---

  const connectDirectly = https.Agent.prototype.createConnection;
  https.Agent.prototype.createConnection = function createConnection(options, done) {
    const host = typeof options === "object" && options !== null ? options.host || "localhost" : "";
    const proxy = host && !options.socket && !options.socketPath ? proxyFor("https:", host) : null;
    if (!proxy || typeof done !== "function") return connectDirectly.apply(this, arguments);
    tunnel(proxy, host, options.port || 443, (error, socket) => {
      if (error) return done(error);
      try {
        done(null, connectDirectly.call(this, { ...options, socket }));
      } catch (problem) {
        socket.destroy();
        done(problem);
      }
    });
    return undefined;
  };

  // --- fetch: its dispatcher is changed when it is first called, because loading it takes a while ---

  const DISPATCHER = Symbol.for("undici.globalDispatcher.1");
  const fetchDirectly = globalThis.fetch;
  if (typeof fetchDirectly !== "function") return;

  function connect(options, done) {
    const host = options.hostname.replace(/^\[|\]$/g, "");
    const secure = options.protocol === "https:";
    const proxy = proxyFor("https:", host) || proxies["https:"];
    tunnel(proxy, host, options.port || (secure ? 443 : 80), (error, socket) => {
      if (error) return done(error);
      if (!secure) return done(null, socket);
      const servername = net.isIP(host) ? "" : options.servername || host;
      const encrypted = tls.connect({ socket, host, servername, ALPNProtocols: ["http/1.1"] });
      const failed = (problem) => done(problem);
      encrypted.once("error", failed);
      encrypted.once("secureConnect", () => {
        encrypted.removeListener("error", failed);
        done(null, encrypted);
      });
    });
  }

  function withFields(headers, fields) {
    if (!Array.isArray(headers)) return { ...headers, ...fields };
    const pairs = Object.entries(fields);
    return Array.isArray(headers[0]) ? [...headers, ...pairs] : [...headers, ...pairs.flat()];
  }

  function install() {
    const present = globalThis[DISPATCHER];
    if (!present || present.constructor.name !== "Agent") return; // the program has chosen its own
    const tunnels = proxies["https:"] ? new present.constructor({ connect }) : null;
    const dispatch = (options, handler) => {
      const target = new URL(options.origin);
      const proxy = proxyFor(target.protocol, target.hostname);
      if (!proxy) return present.dispatch(options, handler);
      if (target.protocol === "https:") return tunnels.dispatch(options, handler);
      const headers = withFields(options.headers, { host: target.host, ...credentials(proxy) });
      return present.dispatch({ ...options, origin: proxy.origin, path: target.origin + options.path, headers }, handler);
    };
    globalThis[DISPATCHER] = Object.assign(Object.create(present), { dispatch });
  }

  let installed = false;
  const fetch = function fetch(input, init = undefined) {
    if (!installed) {
      installed = true;
      fetchDirectly("data:,").catch(() => {}); // loads what fetch is made of, and makes its dispatcher
      install();
    }
    return fetchDirectly(input, init);
  };
  Object.defineProperty(globalThis, "fetch", { value: fetch, writable: true, enumerable: true, configurable: true });
})();
