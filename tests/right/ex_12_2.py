# %% by what is needed
from lorakit.memory import TrainingPlan, preset
from lorakit.memory.cards import estimate_on


def method_for(model, card):
    settings = {"micro_batch_size": 1, "seq_len": 512, "gradient_checkpointing": True}
    needed = {
        method: estimate_on(preset(model), TrainingPlan(method, **settings), card).card_bytes
        for method in ("lora", "qlora")
    }
    possible = [method for method, size in needed.items() if size <= card.usable_bytes]
    return possible[0] if possible else "neither"
