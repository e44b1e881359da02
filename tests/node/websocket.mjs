// A WebSocket client of Node.js (ws): websocket.mjs URL. Sends three messages, prints what came back and how it ended.
import WebSocket from "ws";

const socket = new WebSocket(process.argv[2]);
const heard = [];
socket.on("open", () => socket.send("one"));
socket.on("message", (data) => {
  heard.push(String(data));
  if (heard.length === 3) socket.close(1000, "enough");
  else socket.send(["two", "x".repeat(70000)][heard.length - 1]);
});
socket.on("error", (error) => console.log(JSON.stringify({ error: error.message })));
socket.on("close", (code, reason) => {
  console.log(JSON.stringify({ heard: heard.map((text) => text.slice(0, 20)), code, reason: String(reason) }));
  process.exit(0);
});
