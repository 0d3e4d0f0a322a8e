# %% hard-coded -> Not right yet
from lorakit.finetune import TrainConfig


def capstone(budget_mib):
    return TrainConfig(gradient_checkpointing=True), 1000


# %% as in lesson 07 -> Over the budget
from lorakit.finetune import TrainConfig


def capstone(budget_mib):
    return TrainConfig(), 895


# %% as in lesson 10 -> Over the budget
from lorakit.finetune import TrainConfig


def capstone(budget_mib):
    return TrainConfig(method="qlora"), 1034


# %% high rank everywhere -> Over the budget
from lorakit.finetune import TrainConfig


def capstone(budget_mib):
    every = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    return TrainConfig(r=128, target_modules=every, gradient_checkpointing=True), 600


# %% too many rows -> 320 are allowed
from lorakit.finetune import TrainConfig


def capstone(budget_mib):
    return TrainConfig(gradient_checkpointing=True, steps=200), 584


# %% int8 -> is not counted in this course
from lorakit.finetune import TrainConfig


def capstone(budget_mib):
    return TrainConfig(quant_type="int8", gradient_checkpointing=True), 584


# %% config alone -> Two things are wanted
from lorakit.finetune import TrainConfig


def capstone(budget_mib):
    return TrainConfig(gradient_checkpointing=True)


# %% a plan -> The first thing is to be a TrainConfig
from lorakit.memory import TrainingPlan


def capstone(budget_mib):
    return TrainingPlan(gradient_checkpointing=True), 584


# %% in words -> The second thing is to be a number
from lorakit.finetune import TrainConfig


def capstone(budget_mib):
    return TrainConfig(gradient_checkpointing=True), "584 MiB"


# %% bytes -> These are bytes
from lorakit.checks.lesson12 import step_plan
from lorakit.finetune import TrainConfig
from lorakit.memory import estimate_memory, preset


def capstone(budget_mib):
    config = TrainConfig(gradient_checkpointing=True)
    return config, estimate_memory(preset("SmolLM2-135M"), step_plan(config)).allocated_bytes


# %% GiB -> These are GiB
from lorakit.finetune import TrainConfig


def capstone(budget_mib):
    return TrainConfig(gradient_checkpointing=True), 0.57


# %% MB -> These are MB
from lorakit.checks.lesson12 import step_plan
from lorakit.finetune import TrainConfig
from lorakit.memory import estimate_memory, preset


def capstone(budget_mib):
    config = TrainConfig(gradient_checkpointing=True)
    return config, estimate_memory(preset("SmolLM2-135M"), step_plan(config)).allocated_bytes / 1e6


# %% weights alone -> These are the weights alone
from lorakit.finetune import TrainConfig


def capstone(budget_mib):
    return TrainConfig(gradient_checkpointing=True), 134_515_008 * 2 / 2**20


# %% rows of 512 -> This is for rows of 512 tokens
from dataclasses import replace

from lorakit.checks.lesson12 import step_plan
from lorakit.finetune import TrainConfig
from lorakit.memory import estimate_memory, preset


def capstone(budget_mib):
    config = TrainConfig(gradient_checkpointing=True)
    plan = replace(step_plan(config), seq_len=512)
    return config, estimate_memory(preset("SmolLM2-135M"), plan).allocated_bytes / 2**20


# %% no checkpointing in the prediction -> This leaves checkpointing out
from lorakit.finetune import TrainConfig


def capstone(budget_mib):
    return TrainConfig(gradient_checkpointing=True), 895


# %% one row -> This is for one row at once
from dataclasses import replace

from lorakit.checks.lesson12 import step_plan
from lorakit.finetune import TrainConfig
from lorakit.memory import estimate_memory, preset


def capstone(budget_mib):
    config = TrainConfig(gradient_checkpointing=True)
    plan = replace(step_plan(config), micro_batch_size=1)
    return config, estimate_memory(preset("SmolLM2-135M"), plan).allocated_bytes / 2**20


# %% predicted for LoRA -> This is for LoRA
from lorakit.checks.lesson12 import step_plan
from lorakit.finetune import TrainConfig
from lorakit.memory import estimate_memory, preset


def capstone(budget_mib):
    config = TrainConfig(method="qlora", gradient_checkpointing=True)
    as_lora = step_plan(TrainConfig(gradient_checkpointing=True))
    return config, estimate_memory(preset("SmolLM2-135M"), as_lora).allocated_bytes / 2**20


# %% one step -> it has not learned enough
from lorakit.finetune import TrainConfig


def capstone(budget_mib):
    return TrainConfig(gradient_checkpointing=True, steps=1), 584


# %% an unknown layer -> This config makes no step
from lorakit.finetune import TrainConfig


def capstone(budget_mib):
    return TrainConfig(gradient_checkpointing=True, target_modules=("q_projection",)), 584
