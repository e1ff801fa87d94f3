package modelfile

import "github.com/dougong-io/dougong/services/inference/tree"

// shapeScratch is reused from tree to tree.
type shapeScratch struct {
	visited []bool
	stack   []int32
}

// walk visits the nodes that are reachable from the root and returns how many there are. It
// refuses children outside the tree and nodes that are reached twice: what it accepts is a tree.
// Afterwards visited says which nodes were reached.
func (s *shapeScratch) walk(nodes []tree.Node, offset int) (int, error) {
	if cap(s.visited) < len(nodes) {
		s.visited = make([]bool, len(nodes))
		s.stack = make([]int32, 0, len(nodes))
	}
	s.visited = s.visited[:len(nodes)]
	clear(s.visited)
	s.stack = append(s.stack[:0], 0)
	s.visited[0] = true
	reached := 0
	for len(s.stack) > 0 {
		i := s.stack[len(s.stack)-1]
		s.stack = s.stack[:len(s.stack)-1]
		reached++
		if nodes[i].Split == tree.Leaf {
			continue
		}
		for _, child := range [2]int32{nodes[i].Right, nodes[i].Left} {
			if child < 0 || int(child) >= len(nodes) {
				return 0, damaged(offset, "node %d has the child %d in a tree of %d nodes", i, child, len(nodes))
			}
			if s.visited[child] {
				return 0, damaged(offset, "node %d is reached twice", child)
			}
			s.visited[child] = true
			s.stack = append(s.stack, child)
		}
	}
	return reached, nil
}
