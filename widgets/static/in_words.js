// show_tokens and show_attention: Python's answer is in words already.
export default explorer((value, numbers) => numbers);
