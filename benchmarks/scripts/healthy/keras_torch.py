# A Keras 3 convnet on the torch backend.
import os

os.environ["KERAS_BACKEND"] = "torch"
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import hashlib

import numpy as np
import keras
from keras import layers
from sklearn.datasets import load_digits

SEED = 0
BATCH_SIZE = 64
EPOCHS = 3

keras.utils.set_random_seed(SEED)

# data, scaled to [0, 1]
x, y = load_digits(return_X_y=True)
x = (x / 16.0).astype("float32").reshape(-1, 8, 8, 1)
order = np.random.RandomState(SEED).permutation(len(x))
x, y = x[order], y[order]
x_train, y_train = x[:1024], keras.utils.to_categorical(y[:1024], 10)
x_test, y_test = x[1024:], keras.utils.to_categorical(y[1024:], 10)

model = keras.Sequential(
    [
        keras.Input(shape=(8, 8, 1)),
        layers.Conv2D(12, kernel_size=3, padding="same", use_bias=False),
        layers.BatchNormalization(momentum=0.9),
        layers.Activation("relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(24, kernel_size=3, padding="same", activation="relu"),
        layers.Flatten(),
        layers.Dropout(0.1),
        layers.Dense(10, activation="softmax"),
    ]
)

steps = EPOCHS * (len(x_train) // BATCH_SIZE)
model.compile(
    loss="categorical_crossentropy",
    optimizer=keras.optimizers.Adam(
        learning_rate=keras.optimizers.schedules.CosineDecay(1e-2, decay_steps=steps, alpha=0.05), clipnorm=1.0
    ),
    metrics=["accuracy"],
)

history = model.fit(x_train, y_train, batch_size=BATCH_SIZE, epochs=EPOCHS, validation_data=(x_test, y_test), verbose=2)

score = model.evaluate(x_test, y_test, verbose=0)
print("Test loss:", round(float(score[0]), 4))
print("Test accuracy:", round(float(score[1]), 4))

h = hashlib.sha256()
for w in model.trainable_variables:
    h.update(np.ascontiguousarray(keras.ops.convert_to_numpy(w)).tobytes())
print("digest", h.hexdigest())
