// show_adapter_dial: all is looked up; widgets/adapter_dial.py has the formulas.
const percent = (share) => (share > 0 && share < 0.00005 ? "< 0.01 %" : `${fixed(100 * share, 2)} %`);

export default explorer((value, numbers) => {
  const at = number(value.dial);
  const lengths = {};
  const labels = {};
  numbers.probabilities[0].forEach((share, place) => (lengths[`before-${place}`] = share));
  numbers.probabilities[at].forEach((share, place) => {
    lengths[`after-${place}`] = share;
    labels[`share-${place}`] = percent(share);
  });
  return {
    results: {
      "Likeliest token": `${numbers.likeliest[at]}, ${percent(numbers.highest[at])}`,
      "Likeliest by the base": `${numbers.likeliest[0]}, ${percent(numbers.highest[0])}`,
      "KL divergence from the base": `${fixed(numbers.divergence[at], 3)} bits`,
    },
    caption:
      `The change that the adapter ${numbers.adapter} makes is multiplied by ${at}: 0 is the base alone, 1 the ` +
      "adapter as trained. Dashed: probability by the base. Solid: at this dial. On the right, each token's " +
      "probability over the dial, from 0 to 100 %, with a point at this one. The KL divergence is over the whole " +
      "vocabulary. “·” is a space, “⏎” a newline.",
    lengths,
    labels,
  };
});
