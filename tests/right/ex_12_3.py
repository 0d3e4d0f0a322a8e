# %% LoRA, with checkpointing, predicted by hand
from lorakit.finetune import TrainConfig


def capstone(budget_mib):
    return TrainConfig(gradient_checkpointing=True), 590


# %% LoRA, two rows at once
from lorakit.finetune import TrainConfig


def capstone(budget_mib):
    return TrainConfig(micro_batch_size=2, gradient_accumulation_steps=4), 580
