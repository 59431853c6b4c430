"""EfficientNet-Lite: EfficientNet (Tan and Le 2019) with ReLU6 and without squeeze-and-excitation.

It equals timm's `tf_efficientnet_lite`: the same outputs, and tensors of the same names and order. It is written out
because an import of timm also imports torchvision and torch's compiler, which take longer than torch.
"""

import math

from torch import Tensor, nn
from torch.nn import functional

BATCH_NORM_EPSILON = 1e-3
"""As in TensorFlow, where the published weights were trained."""
CLASSES = 1000
STEM_CHANNELS, HEAD_CHANNELS = 32, 1280
EXPANSION = 6
STAGES = ((1, 3, 1, 16), (2, 3, 2, 24), (2, 5, 2, 40), (3, 3, 2, 80), (3, 5, 1, 112), (4, 5, 2, 192), (1, 3, 1, 320))
"""Blocks, kernel size, stride of the first block, and channels of each stage of Lite0."""


class EfficientNetLite(nn.Module):
    """Classifier of normalised photos: [B, 3, S, S] -> logits [B, 1000]."""

    def __init__(self, width: float = 1.0, depth: float = 1.0):
        """width: factor of the channels. depth: factor of the blocks in a stage, except in the first and the last."""
        super().__init__()
        self.conv_stem = _convolution(3, STEM_CHANNELS, 3, stride=2)
        self.bn1 = _BatchNormReLU6(STEM_CHANNELS, eps=BATCH_NORM_EPSILON)
        stages, inputs = [], STEM_CHANNELS
        for number, (blocks, kernel, stride, lite0_channels) in enumerate(STAGES):
            channels = _round_to_eight(lite0_channels * width)
            if 0 < number < len(STAGES) - 1:
                blocks = math.ceil(blocks * depth)
            block = _InvertedResidual if number else _SeparableConvolution
            stages.append(nn.Sequential(block(inputs, channels, kernel, stride)))
            stages[-1].extend(block(channels, channels, kernel, 1) for _ in range(blocks - 1))
            inputs = channels
        self.blocks = nn.Sequential(*stages)
        self.conv_head = _convolution(inputs, HEAD_CHANNELS, 1)
        self.bn2 = _BatchNormReLU6(HEAD_CHANNELS, eps=BATCH_NORM_EPSILON)
        self.classifier = nn.Linear(HEAD_CHANNELS, CLASSES)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise as TensorFlow's implementation does; BatchNorm keeps torch's initialisation, which is the same."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
                nn.init.normal_(module.weight, 0, math.sqrt(2 / fan_out))
        limit = 1 / math.sqrt(CLASSES)
        nn.init.uniform_(self.classifier.weight, -limit, limit)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, pixels: Tensor) -> Tensor:
        features = self.bn2(self.conv_head(self.blocks(self.bn1(self.conv_stem(pixels)))))
        return self.classifier(features.mean(dim=(2, 3)))


class _BatchNormReLU6(nn.BatchNorm2d):
    def forward(self, features: Tensor) -> Tensor:
        return functional.relu6(super().forward(features), inplace=True)


class _SamePaddedConvolution(nn.Conv2d):
    """Convolution with TensorFlow's padding, which depends on the size and may be uneven: [B, C, H, W] -> [B, C', ...].

    The output has ceil(H / stride) rows and ceil(W / stride) columns.
    """

    def forward(self, features: Tensor) -> Tensor:
        padding: list[int | Tensor] = []
        for size, kernel, stride in zip(features.shape[:1:-1], self.kernel_size, self.stride, strict=True):
            total = kernel - stride + -size % stride  # a tensor while traced, so no `max`; a kernel exceeds its stride
            padding += [total // 2, total - total // 2]
        return super().forward(functional.pad(features, padding))


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Make a convolution with TensorFlow's padding, and without bias, because BatchNorm follows."""
    if stride == 1:  # the padding is even and does not depend on the size
        return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    return _SamePaddedConvolution(inputs, outputs, kernel, stride, groups=groups, bias=False)


class _SeparableConvolution(nn.Module):
    """Depthwise convolution, then a projection to other channels."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int):
        super().__init__()
        self.conv_dw = _convolution(inputs, inputs, kernel, stride, groups=inputs)
        self.bn1 = _BatchNormReLU6(inputs, eps=BATCH_NORM_EPSILON)
        self.conv_pw = _convolution(inputs, outputs, 1)
        self.bn2 = nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPSILON)

    def forward(self, features: Tensor) -> Tensor:
        return self.bn2(self.conv_pw(self.bn1(self.conv_dw(features))))


class _InvertedResidual(nn.Module):
    """Expansion to six times the channels, depthwise convolution, projection; residual where the shape stays."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int):
        super().__init__()
        expanded = EXPANSION * inputs
        self.is_residual = stride == 1 and inputs == outputs
        self.conv_pw = _convolution(inputs, expanded, 1)
        self.bn1 = _BatchNormReLU6(expanded, eps=BATCH_NORM_EPSILON)
        self.conv_dw = _convolution(expanded, expanded, kernel, stride, groups=expanded)
        self.bn2 = _BatchNormReLU6(expanded, eps=BATCH_NORM_EPSILON)
        self.conv_pwl = _convolution(expanded, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPSILON)

    def forward(self, features: Tensor) -> Tensor:
        expanded = self.bn2(self.conv_dw(self.bn1(self.conv_pw(features))))
        projected = self.bn3(self.conv_pwl(expanded))
        return projected + features if self.is_residual else projected


def _round_to_eight(channels: float) -> int:
    """Round to a multiple of eight, but not down by more than a tenth."""
    rounded = int(channels + 4) // 8 * 8
    return rounded if rounded >= 0.9 * channels else rounded + 8
