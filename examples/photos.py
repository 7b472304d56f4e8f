"""A network for photographs of your own, in a folder for each class.

python examples/draw_photos.py photos     draws such a folder, if you have none
python examples/photos.py photos
"""

import sys

from cconv import Affine, BatchNormalization, Convolution, GlobalAveragePooling, Network, Pooling, Relu, Scale, Trainer
from cconv import augment as a
from cconv.data import ImageFolder

photos = ImageFolder(sys.argv[1], size=(48, 48))
layers = [Scale()]
for filters in (16, 32, 64):
    layers += [Convolution(filters=filters, size=3, pad="same"), BatchNormalization(), Relu(), Pooling(2, 2, stride=2)]
network = Network([*layers, GlobalAveragePooling(), Affine(units=len(photos.classes))], photos.x.shape[1:], seed=0)

augment = a.Compose([a.RandomFlip(), a.RandomShift(0.1), a.RandomBrightness(0.2)])
options = {"optimizer": "Adam", "mini_batch_size": 32, "augment": augment, "seed": 0}
options |= {"validation": 0.2, "early_stopping": 5, "restore_best": True}
trainer = Trainer(network, photos, epochs=60, **options)
trainer.train()
print(f"Best accuracy on photographs kept apart: {max(trainer.history.val_accuracy):.4f}")
network.save("photos.safetensors")
