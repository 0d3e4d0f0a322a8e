// show_adapter_size: all is looked up; widgets/adapter_size.py has the formulas.
export default explorer((value, numbers) => {
  const targets = value.target_modules;
  const { parameters, percent, file_bytes } = numbers.adapters[targets.join(" ")][value.r];
  const base = numbers.base[value.quant_type ?? "None"];
  return {
    results: {
      "Adapter parameters": count(parameters),
      "Share of all parameters": `${fixed(percent, 3)} %`,
      "Adapter on disk": size(file_bytes),
      "Base in memory": size(base),
      "Scaling, alpha / r": number(numbers.scaling[value.lora_alpha][value.r]),
    },
    caption: targets.length
      ? `One of ${numbers.blocks} blocks. Trained are A and B, thicker with r, beside ${targets.join(", ")}.`
      : "No adapter: choose at least one layer.",
  };
});
