// Unmodified HTTPS clients of Node.js: fetch, the https module, the OpenAI SDK. Prints one JSON line a client, as
// tests/cli/programs/clients.py does. Usage: https.mjs URL
import https from "node:https";
import OpenAI from "openai";

const url = process.argv[2];
const chat = { model: "gpt-4o-mini", max_tokens: 20, messages: [{ role: "user", content: "Hi" }] };
const body = JSON.stringify(chat);
const headers = { "Content-Type": "application/json" };

async function useFetch() {
  const answer = await fetch(`${url}/v1/chat/completions`, { method: "POST", headers, body });
  return (await answer.json()).usage.completion_tokens;
}

function useHttps() {
  return new Promise((done, failed) => {
    const request = https.request(`${url}/v1/chat/completions`, { method: "POST", headers }, async (answer) => {
      let text = "";
      for await (const piece of answer) text += piece;
      done(JSON.parse(text).usage.completion_tokens);
    });
    request.once("error", failed);
    request.end(body);
  });
}

async function useSdk() {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "any" });
  return (await client.chat.completions.create(chat)).usage.completion_tokens;
}

for (const [client, use] of Object.entries({ node_fetch: useFetch, node_https: useHttps, node_openai: useSdk })) {
  let said;
  try {
    said = await use();
  } catch (error) {
    said = `${error} ${error.cause ?? ""}`;
  }
  console.log(JSON.stringify({ client, said }));
}
process.exit(0);
