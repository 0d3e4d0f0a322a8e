// show_quantization: widgets/quantization.py has put every setting into words.
export default explorer(
  ({ quant_type, block_size, double_quant }, numbers) => numbers[quant_type][block_size][Number(double_quant)],
);
