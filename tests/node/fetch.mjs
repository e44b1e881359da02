// One POST by Node's fetch: node fetch.mjs WAY URL PROXY BODY. Prints {status, headers, body}.
// WAY: "direct" (a base URL), "forward" (undici's ProxyAgent, plain HTTP in absolute form), "agent" (its default: a
// tunnel even for plain HTTP), "environment" (undici's EnvHttpProxyAgent, which reads HTTP_PROXY and tunnels too).
import { EnvHttpProxyAgent, ProxyAgent, fetch as undiciFetch } from "undici";

const [way, url, proxy, body] = process.argv.slice(2);
const init = { method: "POST", headers: { "Content-Type": "application/json" }, body };
let answer;
if (way === "direct") {
  answer = await fetch(url, init);
} else {
  const agents = {
    forward: () => new ProxyAgent({ uri: proxy, proxyTunnel: false }),
    agent: () => new ProxyAgent(proxy),
    environment: () => new EnvHttpProxyAgent(),
  };
  const dispatcher = agents[way]();
  answer = await undiciFetch(url, { ...init, dispatcher });
}
console.log(JSON.stringify({ status: answer.status, headers: Object.fromEntries(answer.headers), body: await answer.text() }));
process.exit(0);
