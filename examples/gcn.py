"""A graph convolutional network (Kipf and Welling 2016, arXiv:1609.02907) that finds communities.

The graph has four communities of 100 nodes: within one, 8 % of the pairs are linked, across, 1 %. A node's
features point weakly to its community, too weakly to be of use without its neighbours'.
"""

import itertools

import networkx as nx
import torch
import torch.nn.functional as F
from torch import nn

from common import ACTIVATIONS, clip_gradients, count, initialise, make_optimizer, make_parser, parse, split

COMMUNITIES, SIZE, FEATURES = 4, 100, 16
NORMS = {"none": nn.Identity, "batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


def make_graph(seed):
    """Adjacency matrix (N, N), features (N, FEATURES) and community (N,) of every node."""
    graph = nx.planted_partition_graph(COMMUNITIES, SIZE, p_in=0.08, p_out=0.01, seed=seed)
    adjacency = torch.zeros(len(graph), len(graph))
    u, v = torch.tensor(list(graph.edges)).T
    adjacency[u, v] = adjacency[v, u] = 1.0
    community = torch.arange(len(graph)) // SIZE
    centres = torch.randn(COMMUNITIES, FEATURES)
    features = 0.3 * centres[community] + torch.randn(len(graph), FEATURES)
    return adjacency, features, community


def drop_edges(adjacency, share):
    """DropEdge (Rong et al. 2019, arXiv:1907.10903): leave out a share of the edges, in both directions."""
    kept = torch.triu(torch.rand_like(adjacency) >= share, diagonal=1)
    return adjacency * (kept | kept.T)


def normalise(adjacency):
    """D^-1/2 (A + I) D^-1/2, equation 2 of Kipf and Welling."""
    a = adjacency + torch.eye(len(adjacency))
    d = a.sum(dim=1).rsqrt()
    return d[:, None] * a * d[None, :]


class GraphConvolution(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.linear = nn.Linear(n_in, n_out)

    def forward(self, x, a):
        return a @ self.linear(x)


class GCN(nn.Module):
    def __init__(self, depth, width, activation, norm):
        super().__init__()
        sizes = [FEATURES] + [width] * (depth - 1)
        self.convs = nn.ModuleList(GraphConvolution(i, o) for i, o in itertools.pairwise(sizes))
        self.norms = nn.ModuleList(NORMS[norm](width) for _ in self.convs)
        self.activation = ACTIVATIONS[activation]()
        self.out = GraphConvolution(sizes[-1], COMMUNITIES)

    def forward(self, x, a):
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = self.activation(norm(conv(x, a)))
        return self.out(x, a)


def train(model, optimizer, features, adjacency, community, nodes, args):
    """One pass over the labelled nodes; every step sees the whole graph."""
    model.train()
    losses = []
    for batch in nodes[torch.randperm(len(nodes))].split(args.batch_size):
        a = normalise(drop_edges(adjacency, 0.2) if args.augment == "drop_edge" else adjacency)

        def closure(a=a, batch=batch):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(features, a)[batch], community[batch])
            loss.backward()
            clip_gradients(model.parameters(), args.clip)
            return loss

        losses.append(optimizer.step(closure).item())
    return sum(losses) / len(losses)


@torch.no_grad()
def evaluate(model, features, adjacency, community, nodes):
    model.eval()
    logits = model(features, normalise(adjacency))[nodes]
    accuracy = (logits.argmax(dim=1) == community[nodes]).float().mean()
    return F.cross_entropy(logits, community[nodes]).item(), accuracy.item()


def main():
    parser = make_parser(
        __doc__.splitlines()[0], optimizer="adam", lr=1e-2, activation="relu", init="xavier", norm="none",
        norms=list(NORMS), depth=2, width=32, batch_size=40, val_share=0.5,
    )  # fmt: skip
    parser.add_argument("--epochs", type=count, default=40, help="passes over the labelled nodes")
    parser.add_argument("--augment", choices=["none", "drop_edge"], default="none", help="of the graph")
    args = parse(parser)

    torch.manual_seed(args.seed)
    adjacency, features, community = make_graph(args.seed)
    train_nodes, val_nodes = split(len(community), args.val_share)

    model = GCN(args.depth, args.width, args.activation, args.norm)
    initialise(model, args.init)
    optimizer = make_optimizer(args.optimizer, model.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    for epoch in range(1, args.epochs + 1):
        loss = train(model, optimizer, features, adjacency, community, train_nodes, args)
        val_loss, accuracy = evaluate(model, features, adjacency, community, val_nodes)
        print(
            f"epoch {epoch:3d}  train loss {loss:.4f}  val loss {val_loss:.4f}  val accuracy {accuracy:.4f}",
            flush=True,
        )
    if args.save:
        torch.save(model.state_dict(), args.save)


if __name__ == "__main__":
    main()
