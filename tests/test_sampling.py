"""What a step sees of a graph that is too large for one."""

import pytest
import torch

from bench.config import NeighbourBatches, Training, WalkBatches
from bench.task import NodeTask, Split
from bench.training import parts
from bench.training.sampling import Adjacency
from implementations.contract import Graph


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def path(nodes: int) -> Graph:
    """0 - 1 - 2 - ..., and a last node that is alone; with self-loops."""
    ends = torch.stack([torch.arange(nodes - 2), torch.arange(1, nodes - 1)])
    return Graph(nodes, torch.cat([ends, ends.flip(0)], dim=1)).with_self_loops()


def task(graph: Graph) -> NodeTask:
    nodes = torch.arange(graph.num_nodes)
    return NodeTask(graph, nodes.float().unsqueeze(1), nodes % 3, Split(nodes[::2], nodes[1::4]), nodes[3::4])


def test_a_walk_goes_along_edges_and_stays_where_there_are_none():
    adjacency = Adjacency.of(path(10))
    for seed in range(20):
        visited = adjacency.visited(roots=1, length=2, generator=generator(seed)).tolist()
        assert visited in ([9], [visited[0], visited[0] + 1], [visited[0], visited[0] + 1, visited[0] + 2])
    assert adjacency.visited(roots=500, length=1, generator=generator()).tolist() == list(range(10))


def test_a_walk_takes_each_neighbour_as_often_as_any_other():
    star = Graph(5, torch.tensor([[1, 2, 3, 4], [0, 0, 0, 0]]))  # from 0 one comes to the others, and no further
    adjacency = Adjacency.of(star)
    ends = torch.cat([adjacency.visited(1, 1, generator(seed)) for seed in range(4000)])
    count = torch.bincount(ends, minlength=5)
    from_centre = int(count[0])
    assert abs(from_centre - 800) < 5 * (4000 * 0.2 * 0.8) ** 0.5
    assert all(abs(int(leaf) - 800 - from_centre / 4) < 5 * 1000**0.5 for leaf in count[1:])


def test_a_graph_without_edges_is_walked_on_the_spot():
    nothing = Adjacency.of(Graph(3, torch.empty(2, 0, dtype=torch.int64)).with_self_loops())
    assert nothing.visited(roots=50, length=2, generator=generator()).tolist() == [0, 1, 2]


def test_a_walk_batch_is_the_graph_between_the_visited_nodes_and_counts_its_training_nodes():
    whole = task(path(30))
    asked = Training(batches=WalkBatches(roots=3, length=2, steps=4))
    epoch = list(parts.batches(whole, asked, generator()))
    assert len(epoch) == 4
    for part in epoch:
        kept = part.x.squeeze(1).long()
        assert torch.equal(part.y, whole.y[kept])
        assert torch.equal(kept[part.nodes], kept[kept % 2 == 0])
        between = torch.isin(whole.graph.edge_index, kept).all(0)
        expected = set(map(tuple, whole.graph.edge_index[:, between].T.tolist()))
        assert set(map(tuple, kept[part.graph.edge_index].T.tolist())) == expected


def test_the_same_seed_draws_the_same_batches_and_the_next_epoch_others():
    asked = Training(batches=WalkBatches(roots=3, length=2, steps=2))

    def two_epochs() -> list[list[list[float]]]:
        drawn = parts.batches(task(path(40)), asked, generator(5))
        return [[part.x.squeeze(1).tolist() for part in drawn] for _ in range(2)]

    assert two_epochs() == two_epochs()
    assert two_epochs()[0] != two_epochs()[1]


def test_neighbours_are_drawn_without_replacement_up_to_the_fanout_hop_by_hop():
    hub = Graph(12, torch.tensor([[*range(1, 11), 11], [*[0] * 10, 1]])).with_self_loops()
    adjacency = Adjacency.of(hub)
    reached = set()
    for seed in range(60):
        nodes, edges = adjacency.neighbourhood(torch.tensor([0]), (3, 2), generator(seed))
        real = nodes[edges]
        assert nodes[0] == 0
        assert len(set(nodes.tolist())) == len(nodes)
        into_hub = real[0, real[1] == 0].tolist()
        assert len(into_hub) == len(set(into_hub)) == 3
        assert (11 in nodes) == (1 in into_hub)  # the second hop goes on from what the first one drew
        reached |= set(into_hub)
    assert reached == set(range(1, 11))


def test_with_a_fanout_beyond_every_degree_a_batch_predicts_as_the_whole_graph_does():
    whole = task(path(12))
    asked = Training(batches=NeighbourBatches(targets=2, fanout=(9, 9)))
    epoch = list(parts.batches(whole, asked, generator()))
    assert [part.x[part.nodes].squeeze(1).tolist() for part in epoch] == [[0, 2], [4, 6], [8, 10]]
    for part in epoch:
        expected = means_of_means(whole.graph, whole.x)[part.x[part.nodes].squeeze(1).long()]
        torch.testing.assert_close(means_of_means(part.graph, part.x)[part.nodes], expected)


def means_of_means(graph: Graph, x: torch.Tensor) -> torch.Tensor:
    for _ in range(2):
        total = torch.zeros_like(x).index_add(0, graph.targets, x[graph.sources])
        x = total / graph.targets.bincount(minlength=graph.num_nodes).unsqueeze(1)
    return x


@pytest.mark.parametrize("targets", [1, 5])
def test_an_epoch_counts_each_training_node_once(targets):
    whole = task(path(21))
    asked = Training(batches=NeighbourBatches(targets=targets, fanout=(1, 1)))
    drawn = parts.batches(whole, asked, generator())
    counted = torch.cat([part.x[part.nodes].squeeze(1).long() for part in drawn])
    assert torch.equal(counted, whole.split.train)
    assert len(drawn) == -(-11 // targets)


def test_training_nodes_come_in_another_order_in_each_epoch_if_asked():
    whole = task(path(41))
    asked = Training(batches=NeighbourBatches(targets=4, fanout=(1, 1), shuffle=True))
    drawn = parts.batches(whole, asked, generator())
    first, second = (torch.cat([part.x[part.nodes].squeeze(1).long() for part in drawn]) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(first.sort().values, whole.split.train)
    assert torch.equal(second.sort().values, whole.split.train)
