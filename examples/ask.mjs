// Ask an agent from JavaScript, through the API that OpenAI's clients speak; the answer is shown as it is made.
//
// Run: RUMA_URL=http://127.0.0.1:8420/t/main RUMA_KEY=ruma_… node ask.mjs "What does delivery cost?"

const { RUMA_URL, RUMA_KEY } = process.env;

const response = await fetch(`${RUMA_URL}/v1/chat/completions`, {
  method: "POST",
  headers: { Authorization: `Bearer ${RUMA_KEY}`, "Content-Type": "application/json" },
  body: JSON.stringify({
    model: "agent",
    stream: true,
    messages: [{ role: "user", content: process.argv.slice(2).join(" ") }],
  }),
});
if (!response.ok) {
  const { error } = await response.json();
  console.error(`Error: ${error.message} ${error.hint}`);
  process.exit(1);
}

let buffer = "";
for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
  buffer += piece;
  const events = buffer.split("\n\n");
  buffer = events.pop();
  for (const event of events) {
    if (!event.startsWith("data: ") || event === "data: [DONE]") continue;
    const { choices, error } = JSON.parse(event.slice("data: ".length));
    if (error) throw new Error(error.message);
    const [{ delta }] = choices;
    process.stdout.write(delta.content ?? "");
    for (const { number, title, quote } of delta.citations ?? []) process.stdout.write(`\n[${number}] ${title}: ${quote}`);
  }
}
process.stdout.write("\n");
