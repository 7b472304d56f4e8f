"""ONNX models: networks written as such, and read.

Needs the package onnx: ``pip install 'cconv[onnx]'``.

`export` writes what a network predicts, `load` makes a network of a model's graph. A graph has one input, of floats or
doubles, or of uint8 that a Cast makes floats of, whose first axis is the batch's and whose other axes are fixed, and
one output; it is a chain of layers, of sums (`Residual`) and of concatenations (`Concatenate`). Operators may be of
any version since opset 7:

=====================  ==============================  ================================================================
operator               layer                           offered
=====================  ==============================  ================================================================
Add                    Residual, Normalize             of two values of one shape; of one constant for each channel
AveragePool            AveragePooling                  on images, without dilations
BatchNormalization     BatchNormalization              of inference, with the running statistics
Cast                   Scale                           to the type that is there; of pixels of uint8
Concat                 Concatenate                     along the channels
Conv                   Convolution                     on images, with constant weights
ConvTranspose          TransposedConvolution           on images, with constant weights
Div                    Scale, Normalize                by one constant, or one for each channel
Dropout                Dropout                         of inference
Elu                    Elu
Flatten                Flatten                         of all axes but the batch's
Gelu                   Gelu
Gemm                   Affine                          of rows of features and a constant matrix; transB, alpha, beta
GlobalAveragePool      GlobalAveragePooling            on images
GlobalMaxPool          GlobalMaxPooling                on images
GroupNormalization     GroupNormalization              with a scale for each group (until opset 20) or channel
HardSwish              HardSwish
InstanceNormalization  GroupNormalization              with as many groups as channels; see below
LayerNormalization     LayerNormalization              over any last axes but the batch's
LeakyRelu              LeakyRelu
LogSoftmax             none                            at the end: the network's loss takes its place
MatMul                 Affine, AdaptiveAveragePooling  of rows of features and a constant matrix; see below
MaxPool                Pooling                         on images, pads at most half the window
Mul                    Scale, Normalize, Silu          with one constant, or one for each channel; see below
Pad                    ZeroPad                         of rows and columns of images, with zeros
ReduceMax              GlobalMaxPooling                over rows and columns
ReduceMean             GlobalAveragePooling            over rows and columns
Relu                   Relu
Reshape                Reshape, Flatten                that leaves the batch's axis as it is
Resize                 Upsample                        nearest, linear: where it reads the pixels that Upsample reads
Sigmoid                Sigmoid
Softmax                none                            at the end: the network's loss takes its place
Softplus               Softplus
Squeeze                Reshape, Flatten                of named axes
Sub                    Normalize                       of one constant for each channel
Sum                    Residual                        of values of one shape
Swish                  Silu                            with alpha 1
Tanh                   Tanh
Transpose              none                            that leaves all axes where they are
Unsqueeze              Reshape                         of axes behind the batch's
Upsample               Upsample                        as Resize
=====================  ==============================  ================================================================

All the layers of the table are written too; one of any other kind is refused. What several nodes are together is
recognised:

- Functions of each value that Add, Clip, Div, Erf, Exp, Greater, HardSigmoid, Log, Max, Min, Mul, Neg, Pow, Reciprocal,
  Relu, Sigmoid, Softplus, Sub, Tanh and Where compose, with constants, are `Silu`, `HardSwish`, `Gelu`, `Softplus` or
  `Relu` where they compute the same.
- A constant that is added becomes the bias of a layer before it that has one. A product with a constant scales a
  normalization before it; one with 1 - ratio makes a `Dropout` before it one that is not inverted.
- Reshape, InstanceNormalization and Reshape back, of channels in groups, are `GroupNormalization`.
- Products of images with the matrices that take means of columns and of rows are `AdaptiveAveragePooling`.

Constant, ConstantOfShape, Shape, Gather, Slice, Concat, Cast, Squeeze, Unsqueeze, Transpose, Reshape, Add, Sub, Mul and
Div of constants and of shapes are computed while the graph is read, and Identity is followed. What the output does not
need may be anything.
"""

from .exporting import export
from .loading import load

__all__ = ["export", "load"]
