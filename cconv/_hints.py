"""What other libraries call what cconv has: the hints in errors about names that are not there."""

__all__ = ["ARGUMENTS", "METHODS", "NAMES", "TRAINING", "use"]

# Names of the package.
NAMES = {
    "AdaptiveAvgPool2d": "AdaptiveAveragePooling",
    "Add": "Residual",
    "Adagrad": "AdaGrad",
    "AvgPool2d": "AveragePooling",
    "AveragePooling2D": "AveragePooling",
    "BatchNorm": "BatchNormalization",
    "BatchNorm1d": "BatchNormalization",
    "BatchNorm2d": "BatchNormalization",
    "CategoricalCrossentropy": "SoftmaxWithLoss",
    "Conv": "Convolution",
    "Conv2D": "Convolution",
    "Conv2DTranspose": "TransposedConvolution",
    "Conv2d": "Convolution",
    "ConvTranspose2d": "TransposedConvolution",
    "CosineAnnealingLR": "CosineDecay",
    "CrossEntropyLoss": "SoftmaxWithLoss",
    "DataLoader": "data.ArrayDataset, whose batches a Trainer makes",
    "Dense": "Affine",
    "DepthwiseConv2D": "Convolution with groups",
    "ELU": "Elu",
    "EarlyStopping": "callbacks.EarlyStopping",
    "ExponentialLR": "ExponentialDecay",
    "FullyConnected": "Affine",
    "GELU": "Gelu",
    "GlobalAveragePooling2D": "GlobalAveragePooling",
    "GlobalMaxPooling2D": "GlobalMaxPooling",
    "GroupNorm": "GroupNormalization",
    "Hardswish": "HardSwish",
    "HuberLoss": "Huber",
    "ImageFolder": "data.ImageFolder",
    "LayerNorm": "LayerNormalization",
    "LeakyReLU": "LeakyRelu",
    "Linear": "Affine",
    "MSELoss": "MeanSquaredError",
    "MaxPool": "Pooling",
    "MaxPool2D": "Pooling",
    "MaxPool2d": "Pooling",
    "MaxPooling2D": "Pooling",
    "MeanSquaredErrorLoss": "MeanSquaredError",
    "Model": "Network",
    "ModelCheckpoint": "callbacks.Checkpoints",
    "Module": "Layer",
    "OneCycleLR": "OneCycle",
    "RMSProp": "RMSprop",
    "ReLU": "Relu",
    "ReduceLROnPlateau": "ReduceOnPlateau",
    "Rescaling": "Scale",
    "Sequential": "Network",
    "SiLU": "Silu",
    "SparseCategoricalCrossentropy": "SoftmaxWithLoss",
    "StepLR": "StepDecay",
    "TensorDataset": "data.ArrayDataset",
    "UpSampling2D": "Upsample",
    "ZeroPad2d": "ZeroPad",
    "ZeroPadding2D": "ZeroPad",
    "load_model": "load",
}

# Methods and attributes of a network.
METHODS = {
    "add": "layers, a dict of layers by their names",
    "backward": "gradient(x, t)",
    "children": "layers",
    "compile": "Trainer(network, x_train, t_train, optimizer=...)",
    "count_params": "summary()",
    "evaluate": "accuracy(x, t) and loss(x, t)",
    "fit": "Trainer(network, x_train, t_train, ...).train()",
    "forward": "predict(x)",
    "get_weights": "params",
    "load_weights": "load_params(file_name)",
    "modules": "layers",
    "named_parameters": "params",
    "parameters": "params",
    "predict_proba": "softmax(network.predict(x))",
    "requires_grad_": "freeze() and unfreeze()",
    "save_weights": "save_params(file_name)",
    "score": "accuracy(x, t)",
    "set_weights": "load_state_dict(state)",
    "to_json": "architecture()",
    "trainable_variables": "trainable_params",
    "trainable_weights": "trainable_params",
    "weights": "params",
    "zero_grad": "nothing: gradient(x, t) begins anew each time",
}

# Methods and attributes of a Trainer.
TRAINING = {
    "compile": "the arguments of Trainer",
    "evaluate": "network.accuracy(x, t)",
    "fit": "train()",
    "model": "network",
    "predict": "network.predict(x)",
    "run": "train()",
    "step": "train_step()",
}

# Arguments of optimizers.
ARGUMENTS = {
    "alpha": "lr, or decay_rate of RMSprop",
    "betas": "beta1 and beta2",
    "beta_1": "beta1",
    "beta_2": "beta2",
    "clipnorm": "clip_norm",
    "clipvalue": "clip_value",
    "epsilon": "eps, of AdamW",
    "eta": "lr",
    "global_clipnorm": "clip_norm",
    "l2": "weight_decay",
    "learning_rate": "lr",
    "nesterov": "optimizer='Nesterov'",
    "rho": "decay_rate",
}


def use(name, names, place=""):
    """Return what to say of a name that is not there: cconv's name for it, or nothing where it is not known.

    Examples
    --------
    >>> use("Dense", NAMES, "cconv.")
    ': use cconv.Affine'
    """
    return f": use {place}{names[name]}" if isinstance(name, str) and name in names else ""
