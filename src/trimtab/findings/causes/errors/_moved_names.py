"""Names that libraries no longer have, and what is there in their place, by their full dotted name.

The new name is dotted too, and stands at once in the user's line; where no single name does the work, it is code to
begin with. tests/findings/causes/test_moved_names.py holds both against what is installed.
"""

from __future__ import annotations


def _in_place(modules: str, old: str, new: str) -> dict[str, str]:
    """Each of the names under `old`, the same under `new`."""
    return {f"{old}.{name}": f"{new}.{name}" for name in modules.split()}


# With it a script for TensorFlow 1 runs as it is.
TENSORFLOW_1 = "import tensorflow.compat.v1 as tf; tf.disable_v2_behavior()"

KERAS: dict[str, str] = {
    **dict.fromkeys(
        (
            "keras.layers.normalization",
            "keras.layers.advanced_activations",
            "keras.layers.core",
            "keras.layers.convolutional",
            "keras.layers.pooling",
            "keras.layers.recurrent",
            "keras.layers.embeddings",
            "keras.layers.noise",
            "keras.layers.local",
            "keras.layers.merge",
            "keras.layers.wrappers",
            "keras.layers.experimental.preprocessing",
            "keras.layers.experimental",
            "keras.engine",
        ),
        "keras.layers",
    ),
    "keras.layers.CuDNNLSTM": "keras.layers.LSTM",
    "keras.layers.CuDNNGRU": "keras.layers.GRU",
    "tensorflow.estimator": "model = tf.keras.Sequential([...]); model.fit(x, y)",
    "tensorflow.examples": "(x_train, y_train), (x_test, y_test) = tf.keras.datasets.mnist.load_data()",
    "tensorflow.layers": "tf.keras.layers.Dense(10)(x)",
    "keras.objectives": "keras.losses",
    "keras.utils.np_utils": "keras.utils",
    "keras.utils.generic_utils": "keras.utils",
    "keras.utils.layer_utils": "keras.utils",
    "keras.utils.vis_utils": "keras.utils",
    "keras.utils.data_utils": "keras.utils",
    "keras.utils.io_utils": "keras.utils",
    "keras.utils.training_utils": "keras.utils",
    "keras.utils.multi_gpu_model": "keras.distribution.set_distribution(keras.distribution.DataParallel())",
    "keras.wrappers.scikit_learn": "from scikeras.wrappers import KerasClassifier, KerasRegressor",
    "keras.preprocessing.text": "keras.layers.TextVectorization()",
    "keras.preprocessing.image.ImageDataGenerator": "keras.utils.image_dataset_from_directory(directory)",
    "keras.initializers.normal": "keras.initializers.RandomNormal",
    "keras.initializers.uniform": "keras.initializers.RandomUniform",
    "keras.optimizers.adam": "keras.optimizers.Adam",
    "keras.optimizers.sgd": "keras.optimizers.SGD",
    "keras.optimizers.rmsprop": "keras.optimizers.RMSprop",
    "keras.optimizers.adam_v2": "keras.optimizers",
    "keras.optimizers.gradient_descent_v2": "keras.optimizers",
    "keras.optimizers.rmsprop_v2": "keras.optimizers",
    "keras.optimizers.experimental": "keras.optimizers",
    "keras.mixed_precision.experimental": 'keras.mixed_precision.set_global_policy("mixed_float16")',
    "keras.backend.get_value": "float(optimizer.learning_rate)",
    "keras.backend.set_value": "optimizer.learning_rate = 1e-4",
    "keras.backend.set_learning_phase": "model(x, training=False)",
    "keras.backend.learning_phase": "model(x, training=False)",
    "keras.backend.function": "keras.Model(inputs, outputs)",
    "keras.backend.gradients": "with tf.GradientTape() as tape: ...; tape.gradient(loss, variables)",
    "keras.backend.get_session": TENSORFLOW_1,
    "keras.backend.set_session": TENSORFLOW_1,
    "keras.backend.tensorflow_backend": "keras.backend",
    **_in_place(
        "abs all any argmax argmin arange cast concatenate cos dot elu equal exp expand_dims eye log "
        "max maximum mean min minimum not_equal ones ones_like prod relu repeat reshape round sigmoid sign sin softmax "
        "softplus softsign sqrt square squeeze stack std sum tanh tile transpose var zeros zeros_like",
        "keras.backend",
        "keras.ops",
    ),
}

TENSORFLOW: dict[str, str] = {
    "tensorflow.set_random_seed": "tensorflow.random.set_seed",
    "tensorflow.random_normal": "tensorflow.random.normal",
    "tensorflow.random_uniform": "tensorflow.random.uniform",
    "tensorflow.truncated_normal": "tensorflow.random.truncated_normal",
    "tensorflow.log": "tensorflow.math.log",
    "tensorflow.Print": "tensorflow.print",
    "tensorflow.gfile": "tensorflow.io.gfile",
    "tensorflow.to_float": "tf.cast(x, tf.float32)",
    "tensorflow.to_int32": "tf.cast(x, tf.int32)",
    "tensorflow.summary.FileWriter": "tensorflow.summary.create_file_writer",
    "tensorflow.train.AdamOptimizer": "tensorflow.keras.optimizers.Adam",
    "tensorflow.train.GradientDescentOptimizer": "tensorflow.keras.optimizers.SGD",
    "tensorflow.train.MomentumOptimizer": "tensorflow.keras.optimizers.SGD",
    "tensorflow.train.RMSPropOptimizer": "tensorflow.keras.optimizers.RMSprop",
    "tensorflow.train.AdagradOptimizer": "tensorflow.keras.optimizers.Adagrad",
    "tensorflow.train.exponential_decay": "tensorflow.keras.optimizers.schedules.ExponentialDecay",
    "keras.losses.softmax_cross_entropy": "tf.keras.losses.CategoricalCrossentropy(from_logits=True)",
    "keras.losses.sparse_softmax_cross_entropy": "tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)",
}

#: What only a graph of TensorFlow 1 needs, and is there under the same name once its ways are asked for.
GRAPHS: dict[str, str] = _in_place(
    "Session InteractiveSession placeholder get_variable variable_scope global_variables_initializer "
    "initialize_all_variables reset_default_graph get_default_graph ConfigProto GPUOptions get_collection "
    "trainable_variables global_variables assign app logging train.Saver train.FtrlOptimizer",
    "tensorflow",
    "tensorflow.compat.v1",
)

JAX: dict[str, str] = {
    "jax.tree_map": "jax.tree.map",
    "jax.tree_multimap": "jax.tree.map",
    "jax.tree_util.tree_multimap": "jax.tree_util.tree_map",
    "jax.tree_leaves": "jax.tree.leaves",
    "jax.tree_flatten": "jax.tree.flatten",
    "jax.tree_unflatten": "jax.tree.unflatten",
    "jax.tree_structure": "jax.tree.structure",
    "jax.tree_transpose": "jax.tree.transpose",
    "jax.experimental.optimizers": "jax.example_libraries.optimizers",
    "jax.experimental.stax": "jax.example_libraries.stax",
    "jax.random.KeyArray": "jax.Array",
    "jax.ops.index_update": "x = x.at[index].set(y)",
    "jax.ops.index_add": "x = x.at[index].add(y)",
    "jax.ops.index": "x = x.at[index].set(y)",
    "jax.config": "from jax import config",
    "jax.partial": "functools.partial",
    "jax.xla_computation": "jax.jit(f).lower(x).compiler_ir()",
    "jax.linear_util": "jax.extend.linear_util",
    "jax.experimental.host_callback": "jax.debug.callback(f, x)",
    "jax.experimental.maps": "jax.vmap(f)",
    "jax.experimental.pjit.PartitionSpec": "jax.sharding.PartitionSpec",
    "jax.numpy.trapz": "jax.numpy.trapezoid",
    "jax.numpy.msort": "jax.numpy.sort",
    "flax.optim": "import optax; optimizer = optax.adam(1e-3)",
    "flax.nn": "flax.linen",
    "optax.additive_weight_decay": "optax.add_decayed_weights",
}

NUMPY: dict[str, str] = {
    "numpy.float": "float",
    "numpy.int": "int",
    "numpy.bool": "bool",
    "numpy.object": "object",
    "numpy.str": "str",
    "numpy.complex": "complex",
    "numpy.long": "int",
    "numpy.unicode": "str",
    "numpy.product": "numpy.prod",
    "numpy.cumproduct": "numpy.cumprod",
    "numpy.in1d": "numpy.isin",
    "numpy.trapz": "numpy.trapezoid",
    "numpy.asscalar": "x.item()",
    "numpy.typeDict": "numpy.sctypeDict",
}

OTHERS: dict[str, str] = {
    "torch.gels": "torch.linalg.lstsq(A, B).solution",
    "torch.rfft": "torch.fft.rfft(x)",
    "torch.irfft": "torch.fft.irfft(x)",
    "torch._six": "import collections.abc as container_abcs; string_classes = (str, bytes)",
    "torch.utils.ffi": "torch.utils.cpp_extension",
    "sklearn.cross_validation": "sklearn.model_selection",
    "sklearn.grid_search": "sklearn.model_selection",
    "sklearn.externals.joblib": "joblib",
    "sklearn.preprocessing.Imputer": "sklearn.impute.SimpleImputer",
    "scipy.misc.imread": "imageio.v3.imread",
}

MOVED: dict[str, str] = {**KERAS, **TENSORFLOW, **JAX, **NUMPY, **OTHERS}
