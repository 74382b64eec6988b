"""Names of the layers that can be explained, and of the methods; readable without PyTorch."""

from __future__ import annotations

from typing import Literal, get_args

# From the coarsest maps (4x4 for a 32x32 image) to the finest (16x16). "res2" is the residual sum
# that feeds the global pool.
LayerName = Literal["res2", "layer3", "layer2", "res1", "layer1"]
EXPLAINABLE_LAYERS: tuple[LayerName, ...] = get_args(LayerName)
DEFAULT_LAYER: LayerName = "res2"
MethodName = Literal["gradcam", "gradcam++", "eigencam"]
EXPLANATION_METHODS: tuple[MethodName, ...] = get_args(MethodName)
DEFAULT_METHOD: MethodName = "gradcam"
