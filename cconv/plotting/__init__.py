"""Pictures of networks, of what they answer and of their training; matplotlib is imported for the first one.

Each function returns its figure and, given a `file_name`, saves it. Without one the picture is shown: in a window if
matplotlib's backend has windows, and in a notebook as the value of its cell. A single picture can be drawn into axes
of one's own (``ax=``), a grid into a figure of one's own or a part of it (``figure=``); then the caller shows it.
"""

from .answers import plot_confusion_matrix, plot_mistakes
from .attribution import plot_grad_cam, plot_saliency
from .augmented import plot_augmented
from .filters import filter_show, plot_filters
from .inside import plot_feature_maps, plot_histograms
from .training import plot_accuracy, plot_history

__all__ = [
    "filter_show",
    "plot_accuracy",
    "plot_augmented",
    "plot_confusion_matrix",
    "plot_feature_maps",
    "plot_filters",
    "plot_grad_cam",
    "plot_histograms",
    "plot_history",
    "plot_mistakes",
    "plot_saliency",
]
