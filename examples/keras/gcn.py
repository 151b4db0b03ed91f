"""A graph convolutional network (Kipf and Welling 2016, arXiv:1609.02907) that finds communities.

The graph has four communities of 100 nodes: within one, 8 % of the pairs are linked, across, 1 %. A node's
features point weakly to its community, too weakly to be of use without its neighbours'.

KERAS_BACKEND=torch python examples/keras/gcn.py
... --init normal:10 --depth 6 --optimizer sgd --lr 10      blows up
... --activation sigmoid --depth 8                          vanishes
... --depth 16 --norm layer --lr 1e-3                       stalls
"""

import keras
import numpy as np
from keras import layers, ops

from common import JIT, NORMS, EpochLine, flags, initializer, make_optimizer, make_parser, parse
from data import community_graph

COMMUNITIES, SIZE, FEATURES = 4, 100, 16


class Graph(layers.Layer):
    """The whole graph, whichever nodes are asked about: normalised adjacency (N, N) and features (N, FEATURES).

    In training it leaves out a share of the edges, in both directions (DropEdge, Rong et al. 2019, arXiv:1907.10903).
    """

    def __init__(self, graph_seed, dropped, **kwargs):
        super().__init__(**kwargs)
        self.adjacency, self.features, _ = community_graph(COMMUNITIES, SIZE, FEATURES, graph_seed)
        self.dropped = dropped
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, nodes, training=False):
        adjacency = ops.convert_to_tensor(self.adjacency)
        if training and self.dropped:
            chance = keras.random.uniform(adjacency.shape, seed=self.seed_generator)
            kept = ops.triu(ops.cast(chance >= self.dropped, "float32"), k=1)
            adjacency = adjacency * (kept + ops.transpose(kept))
        return normalise(adjacency), ops.convert_to_tensor(self.features)


def normalise(adjacency):
    """D^-1/2 (A + I) D^-1/2, equation 2 of Kipf and Welling."""
    a = adjacency + ops.eye(adjacency.shape[0])
    d = ops.rsqrt(ops.sum(a, axis=1))
    return d[:, None] * a * d[None, :]


def make_gcn(args):
    """Scores of the communities for the nodes it is asked about."""
    init = initializer(args.init)
    nodes = keras.Input((), dtype="int32")
    a, x = Graph(args.seed, 0.2 if args.augment == "drop_edge" else 0.0)(nodes)
    for _ in range(args.depth - 1):
        x = ops.matmul(a, layers.Dense(args.width, kernel_initializer=init)(x))
        x = layers.Activation(args.activation)(NORMS[args.norm]()(x))
    x = ops.matmul(a, layers.Dense(COMMUNITIES, kernel_initializer=init)(x))
    return keras.Model(nodes, ops.take(x, nodes, axis=0))


def main():
    parser = make_parser(
        __doc__.splitlines()[0], optimizer="adam", lr=1e-2, activation="relu", init="xavier", norm="none",
        norms=NORMS, depth=2, width=32, batch_size=40, val_share=0.5,
    )  # fmt: skip
    parser.add_argument("--epochs", type=flags.count, default=40, help="passes over the labelled nodes")
    parser.add_argument("--augment", choices=["none", "drop_edge"], default="none", help="of the graph")
    args = parse(parser)

    keras.utils.set_random_seed(args.seed)
    _, _, community = community_graph(COMMUNITIES, SIZE, FEATURES, args.seed)
    nodes = np.random.default_rng(args.seed).permutation(len(community)).astype("int32")

    model = make_gcn(args)
    model.compile(
        optimizer=make_optimizer(args),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=JIT[args.jit],
    )
    model.fit(
        nodes,
        community[nodes],
        batch_size=args.batch_size,
        epochs=args.epochs,
        validation_split=args.val_share,
        callbacks=[EpochLine()],
        verbose=0,
    )
    if args.save:
        model.save(args.save)


if __name__ == "__main__":
    main()
