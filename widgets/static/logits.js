// show_logits: all is looked up but one division; widgets/logits.py has the formulas.
const percent = (share) => (share > 0 && share < 0.00005 ? "< 0.01 %" : `${fixed(100 * share, 2)} %`);

export default explorer((value, numbers) => {
  const at = number(value.temperature);
  const { kept, mass, rest, entropy } = numbers.cuts[at][value.top_k][number(value.top_p)];
  const before = [...numbers.probabilities[at], numbers.rest[at]];
  const after = numbers.probabilities[at].map((probability, place) => (place < kept ? probability / mass : 0));
  after.push(rest);
  const [first] = numbers.tokens;
  const lengths = {};
  const labels = {};
  after.forEach((share, place) => {
    lengths[`before-${place}`] = before[place];
    lengths[`after-${place}`] = share;
    labels[`share-${place}`] = place < kept ? percent(share) : "0, cut off";
  });
  return {
    results: {
      "Tokens that can be drawn": `${count(kept)} of ${count(numbers.vocabulary)}`,
      "Their share before the cuts": percent(mass),
      "Likeliest token": `${first}, ${percent(after[0])}`,
      "Entropy after the cuts": `${fixed(entropy, 2)} bits`,
    },
    caption:
      `Dashed: probability at temperature ${at}. Solid: after top-k and top-p, which cut off the least likely tokens ` +
      "and share out the rest. “·” is a space, “⏎” a newline.",
    lengths,
    labels,
  };
});
