//! Circles in a graph: its strongly connected components, by Tarjan's algorithm without recursion.
//!
//! Cost: O(vertices + edges) in time and memory.

use crate::tables::{index, next_index};

const UNSEEN: u32 = u32::MAX;

struct Search<'a> {
    /// Edges in the order of their sources, and where those of each source begin.
    targets: &'a [u32],
    begins: &'a [usize],
    order: Vec<u32>,
    low: Vec<u32>,
    on_stack: Vec<bool>,
    stack: Vec<u32>,
    next: u32,
    found: Vec<Vec<u32>>,
}

/// Components of more than one vertex, each in ascending order.
pub(crate) fn cycles(vertices: usize, edges: &[(u32, u32)]) -> Vec<Vec<u32>> {
    let mut begins = vec![0_usize; vertices + 1];
    for (from, _) in edges {
        begins[index(*from) + 1] += 1;
    }
    for at in 0..vertices {
        begins[at + 1] += begins[at];
    }
    let mut fill = begins.clone();
    let mut targets = vec![0_u32; edges.len()];
    for (from, to) in edges {
        let at = &mut fill[index(*from)];
        targets[*at] = *to;
        *at += 1;
    }
    let mut search = Search {
        targets: &targets,
        begins: &begins,
        order: vec![UNSEEN; vertices],
        low: vec![0; vertices],
        on_stack: vec![false; vertices],
        stack: Vec::new(),
        next: 0,
        found: Vec::new(),
    };
    for vertex in 0..vertices {
        if search.order[vertex] == UNSEEN {
            search.visit(next_index(vertex));
        }
    }
    search.found
}

impl Search<'_> {
    fn enter(&mut self, vertex: u32, path: &mut Vec<(u32, usize)>) {
        let at = index(vertex);
        self.order[at] = self.next;
        self.low[at] = self.next;
        self.next += 1;
        self.stack.push(vertex);
        self.on_stack[at] = true;
        path.push((vertex, self.begins[at]));
    }

    fn visit(&mut self, root: u32) {
        let mut path = Vec::new();
        self.enter(root, &mut path);
        while let Some((vertex, edge)) = path.last_mut() {
            let at = index(*vertex);
            if *edge < self.begins[at + 1] {
                let target = self.targets[*edge];
                *edge += 1;
                let to = index(target);
                if self.order[to] == UNSEEN {
                    self.enter(target, &mut path);
                } else if self.on_stack[to] {
                    self.low[at] = self.low[at].min(self.order[to]);
                }
                continue;
            }
            path.pop();
            if let Some((parent, _)) = path.last() {
                let parent = index(*parent);
                self.low[parent] = self.low[parent].min(self.low[at]);
            }
            if self.low[at] == self.order[at] {
                self.leave(at);
            }
        }
    }

    /// The component whose first vertex is `at` is complete.
    fn leave(&mut self, at: usize) {
        let mut component = Vec::new();
        while let Some(vertex) = self.stack.pop() {
            self.on_stack[index(vertex)] = false;
            component.push(vertex);
            if index(vertex) == at {
                break;
            }
        }
        if component.len() > 1 {
            component.sort_unstable();
            self.found.push(component);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_found_and_trees_are_not() {
        let tree = [(0, 1), (0, 2), (1, 3), (2, 3)];
        let two = [(0, 1), (1, 0), (1, 2), (2, 3), (3, 4), (4, 2), (5, 5)];

        assert_eq!(cycles(4, &tree), Vec::<Vec<u32>>::new());
        assert_eq!(cycles(6, &two), [vec![2, 3, 4], vec![0, 1]]);
        assert_eq!(cycles(0, &[]), Vec::<Vec<u32>>::new());
    }

    #[test]
    fn a_long_path_needs_no_stack() {
        let mut path: Vec<(u32, u32)> = (0..500_000).map(|at| (at, at + 1)).collect();
        assert_eq!(cycles(500_001, &path).len(), 0);

        path.push((500_000, 0));
        assert_eq!(cycles(500_001, &path)[0].len(), 500_001);
    }
}
