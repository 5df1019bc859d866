"""Residual networks with random weights, of any depth, for timing."""

from __future__ import annotations

import torch
from torch import nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with BatchNorm and a shortcut, 1x1 where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs),
                                   nn.ReLU(inplace=True))
        self.second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.second(self.first(x)) + self.shortcut(x))


class Classifier(nn.Module):
    """A stem, residual blocks, global average pooling and a dense layer."""

    def __init__(self, stem: nn.Module, blocks: list[ResidualBlock], width: int, classes: int):
        super().__init__()
        self.stem, self.blocks = stem, nn.Sequential(*blocks)
        self.pool, self.dense = nn.AdaptiveAvgPool2d(1), nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense(torch.flatten(self.pool(self.blocks(self.stem(x))), 1))


def resnet18(classes: int = 1000) -> nn.Module:
    """The shapes of ResNet-18 at 224x224."""
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True),
                         nn.MaxPool2d(3, 2, 1))
    widths = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2),
              (512, 512, 1)]
    return Classifier(stem, [ResidualBlock(*width) for width in widths], 512, classes).eval()


def deep_resnet(blocks: int, width: int = 16) -> nn.Module:
    """Blocks of one width on 16x16 pictures: only the depth costs."""
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
    return Classifier(stem, [ResidualBlock(width, width) for _ in range(blocks)], width, 10).eval()
