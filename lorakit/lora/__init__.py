"""LoRA: the layer written by hand (`layer`), and how large its adapters are, from shapes alone (`size`). Lesson 06."""

from lorakit.lora.layer import (
    LoRALinear,
    apply_lora,
    lora_layers,
    lora_state_dict,
    merge,
    unmerge,
)
from lorakit.lora.size import (
    LINEAR_LAYERS,
    Shapes,
    adapter_file_bytes,
    check_target_modules,
    count_lora_parameters,
    features_per_rank,
    last_name,
    module_names,
    target_shapes,
)

__all__ = [
    "LINEAR_LAYERS",
    "LoRALinear",
    "Shapes",
    "adapter_file_bytes",
    "apply_lora",
    "check_target_modules",
    "count_lora_parameters",
    "features_per_rank",
    "last_name",
    "lora_layers",
    "lora_state_dict",
    "merge",
    "module_names",
    "target_shapes",
    "unmerge",
]
