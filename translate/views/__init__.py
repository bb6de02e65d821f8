"""What discriminators are shown: real and fake images under the same noise and the same kinds of random changes."""

from translate.views.adaptive import AdaptiveProbability
from translate.views.view import View, instance_noise

__all__ = ["AdaptiveProbability", "View", "instance_noise"]
