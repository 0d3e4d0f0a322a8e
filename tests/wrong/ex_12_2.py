# %% hard-coded -> returns the same for every input
def method_for(model, card):
    return "qlora"


# %% QLoRA first -> QLoRA is taken where LoRA fits too
from lorakit.memory import TrainingPlan, preset
from lorakit.memory.cards import estimate_on, fits


def method_for(model, card):
    for method in ("qlora", "lora"):
        plan = TrainingPlan(method, micro_batch_size=1, seq_len=512, gradient_checkpointing=True)
        if fits(estimate_on(preset(model), plan, card), card):
            return method
    return "neither"


# %% never neither -> 'neither' is left out
from lorakit.memory import TrainingPlan, preset
from lorakit.memory.cards import estimate_on, fits


def method_for(model, card):
    plan = TrainingPlan("lora", micro_batch_size=1, seq_len=512, gradient_checkpointing=True)
    return "lora" if fits(estimate_on(preset(model), plan, card), card) else "qlora"


# %% LoRA or neither -> QLoRA is left out
from lorakit.memory import TrainingPlan, preset
from lorakit.memory.cards import estimate_on, fits


def method_for(model, card):
    plan = TrainingPlan("lora", micro_batch_size=1, seq_len=512, gradient_checkpointing=True)
    return "lora" if fits(estimate_on(preset(model), plan, card), card) else "neither"


# %% no checkpointing -> Checkpointing is off here
from lorakit.memory import TrainingPlan, preset
from lorakit.memory.cards import estimate_on, fits


def method_for(model, card):
    for method in ("lora", "qlora"):
        plan = TrainingPlan(method, micro_batch_size=1, seq_len=512)
        if fits(estimate_on(preset(model), plan, card), card):
            return method
    return "neither"


# %% four rows -> This is for 4 rows at once
from lorakit.memory import TrainingPlan, preset
from lorakit.memory.cards import estimate_on, fits


def method_for(model, card):
    for method in ("lora", "qlora"):
        plan = TrainingPlan(method, gradient_checkpointing=True)
        if fits(estimate_on(preset(model), plan, card), card):
            return method
    return "neither"


# %% defaults -> These are TrainingPlan's own rows and checkpointing
from lorakit.memory import TrainingPlan, preset
from lorakit.memory.cards import estimate_on, fits


def method_for(model, card):
    for method in ("lora", "qlora"):
        if fits(estimate_on(preset(model), TrainingPlan(method), card), card):
            return method
    return "neither"


# %% weights alone -> Only the weights are held against the card
from lorakit.memory import TrainingPlan, estimate_memory, preset


def method_for(model, card):
    for method in ("lora", "qlora"):
        peak = estimate_memory(preset(model), TrainingPlan(method)).peak
        if peak.base_weights + peak.quantization_constants + peak.other_weights <= card.usable_bytes:
            return method
    return "neither"


# %% capitals -> Not right yet
from lorakit.memory import TrainingPlan, preset
from lorakit.memory.cards import estimate_on, fits


def method_for(model, card):
    for method in ("lora", "qlora"):
        plan = TrainingPlan(method, micro_batch_size=1, seq_len=512, gradient_checkpointing=True)
        if fits(estimate_on(preset(model), plan, card), card):
            return method.upper()
    return "neither"
