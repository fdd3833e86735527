"""Shortest paths along the edges of a mesh, from many vertices at once."""

from __future__ import annotations

import numpy as np
from numba import get_num_threads, njit, prange
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from .shapes import edges_of


def mesh_edges(vertices: np.ndarray, faces: np.ndarray, alike: np.ndarray) -> csr_matrix:
    """The mesh's edges as a symmetric graph weighed by length.

    Vertices at the same place (an STL file repeats them for every triangle) are joined to the one that `alike`
    ``(N,)`` names, by edges of next to no length.
    """
    repeats = np.flatnonzero(alike != np.arange(len(vertices)))
    edges, _ = edges_of(faces, len(vertices))
    return _graph(vertices, np.concatenate([edges, np.stack([repeats, alike[repeats]], axis=1)]))


def neighbour_edges(vertices: np.ndarray, count: int = 8, radius: float = 0.15) -> csr_matrix:
    """The graph of each point's `count` nearest neighbours within `radius`, for points without faces."""
    distance, other = cKDTree(vertices).query(vertices, k=min(count + 1, len(vertices)), distance_upper_bound=radius)
    found = np.isfinite(distance)
    ends = np.sort(np.stack([np.nonzero(found)[0], other[found]], axis=1), axis=1)
    return _graph(vertices, np.unique(ends[ends[:, 0] != ends[:, 1]], axis=0))


def _graph(vertices: np.ndarray, edges: np.ndarray) -> csr_matrix:
    """Undirected edges ``(E, 2)``, each once, as a symmetric matrix of lengths."""
    length = np.maximum(np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1), 1e-12)
    both = np.concatenate([edges, edges[:, ::-1]])
    return csr_matrix((np.concatenate([length, length]), both.T), shape=(len(vertices), len(vertices)))


def distances(graph: csr_matrix, sources: np.ndarray, limit: float) -> np.ndarray:
    """Lengths of the shortest paths from each source; float32 ``(S, N)``, infinity beyond `limit` or out of reach."""
    out = np.full((len(sources), graph.shape[0]), np.inf, dtype=np.float32)
    _dijkstra(graph.indptr, graph.indices, graph.data, sources.astype(np.int64), limit, get_num_threads(), out)
    return out


@njit(parallel=True, cache=True, nogil=True)
def _dijkstra(starts, ends, lengths, sources, limit, workers, out):
    """Dijkstra's algorithm with a binary heap, each worker with its own, one source after the other.

    A node may stand in the heap more than once; what comes out longer than what is known is stale. As a path is
    pushed at most once an edge, the heap never outgrows the number of edges.
    """
    for worker in prange(workers):
        keys = np.empty(ends.size + 1, dtype=np.float32)
        nodes = np.empty(ends.size + 1, dtype=np.int32)
        for s in range(worker, sources.size, workers):
            best = out[s]
            best[sources[s]] = 0.0
            keys[0], nodes[0] = 0.0, sources[s]
            size = 1
            while size > 0:
                key, node = keys[0], nodes[0]
                size -= 1
                _sift_down(keys, nodes, size, keys[size], nodes[size])
                if key > best[node]:
                    continue
                for e in range(starts[node], starts[node + 1]):
                    length = np.float32(key + lengths[e])
                    if length < best[ends[e]] and length <= limit:
                        best[ends[e]] = length
                        _sift_up(keys, nodes, size, length, ends[e])
                        size += 1


@njit(inline="always")
def _sift_up(keys, nodes, at, key, node):
    """Let (key, node) rise from place `at` of the heap to where its parent is no longer."""
    while at > 0:
        parent = (at - 1) >> 1
        if keys[parent] <= key:
            break
        keys[at], nodes[at] = keys[parent], nodes[parent]
        at = parent
    keys[at], nodes[at] = key, node


@njit(inline="always")
def _sift_down(keys, nodes, size, key, node):
    """Let (key, node) sink from the top of a heap of `size` to where its children are no shorter."""
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and keys[child + 1] < keys[child]:
            child += 1
        if keys[child] >= key:
            break
        keys[at], nodes[at] = keys[child], nodes[child]
        at = child
    keys[at], nodes[at] = key, node
