"""Finds the nodes of a trie that a thread can come to: the tokens of a mask, or the tails of tokens behind a quote.

Strings, numbers and free text are taken in whole slices that all grammars share. What an inner frame said is not known
to a walk that takes slices, so returns that compare values are resumed without it; what might depend on it is noted as
doubtful, to be tried token by token, and whoever keeps the result has to keep apart what was read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from espalier.grammar.found import UNWATCHED, Found, Quotes, Rest, Slices, Watch
from espalier.grammar.key_core import KeyCore
from espalier.grammar.leaf import is_leaf
from espalier.grammar.name_paths import Paths, name_ends
from espalier.grammar.part import FREE
from espalier.grammar.slice import Slice
from espalier.grammar.state import Outcome, Pop, Push, State
from espalier.grammar.text_frame import QUOTE, TextState
from espalier.grammar.thread import END, Frame, FrameKeys, Sequel, Tape, Thread, behind, closure
from espalier.grammar.trie import TokenTrie

Place = tuple[int, Thread, Watch]  # a node, and who came to it
_FEW_WANTED = 8  # bytes: more are looked up in a dictionary


class Explorer:
    """One walk over one trie. With `is_exact` what was read is known, and exits of strings are left in doubt."""

    def __init__(
        self,
        trie: TokenTrie,
        slices: Slices,
        keys: FrameKeys,
        paths: Paths,
        max_depth: int,
        quotes: Quotes | None = None,
        is_exact: bool = False,
    ) -> None:
        self.found = Found()
        self.lowest = max_depth + 1  # the depth of the outermost frame that ended, or more
        self._trie, self._slices, self._keys, self._paths, self._max_depth = trie, slices, keys, paths, max_depth
        self._quotes, self._is_exact = quotes, is_exact
        self._resumed: list[int] = []
        self._last: tuple[tuple[Frame, Outcome, Tape] | None, tuple[State, Frame | None, Tape] | None] = (None, None)

    def explore(self, node: int, threads: Iterable[Thread], watch: Watch = UNWATCHED) -> Found:
        """All that the threads can come to below a node."""
        pending = [(node, thread, watch) for thread in threads]
        while pending and not self.found.is_sensitive:
            at, thread, watched = pending.pop()
            state = thread.state
            if isinstance(state, TextState) and not state.pending:
                self._text(at, thread, watched)
            elif state is FREE:
                self.found.slices.append(np.arange(at + 1, self._trie.end[at], dtype=np.int32))
            elif is_leaf(state) and not (thread.frame is not None and thread.frame.is_recording):
                self._leaf(at, thread, watched)
            else:
                self._step(at, thread, watched, pending)
        return self.found

    def _step(self, node: int, thread: Thread, watch: Watch, pending: list[Place]) -> None:
        """One byte further."""
        state, frame = thread.state, thread.frame
        is_simple = not watch and frame is not None and not isinstance(frame.back, Sequel)
        for byte, kid in self._wanted(node, state):
            step = state.step(byte)
            if is_simple and (not isinstance(step, Pop) or self._is_last(kid, thread, step)):
                if step is not None:
                    self._inward(kid, thread, step, byte, pending)
                continue
            threads, watched, in_doubt = self._advance(thread, byte, watch)
            if self.found.is_sensitive:
                return
            inner = threads[0].state if threads and state.is_between else None
            pending.extend(self._arrive(kid, threads, watched, in_doubt or self._may_repeat(kid, inner)))

    def _is_last(self, kid: int, thread: Thread, step: Pop) -> bool:
        """Whether a byte ends a frame and every token that it is in, so that nobody asks what follows."""
        assert thread.frame is not None
        return not (step.again or thread.frame.back.captures or self._trie.has_children(kid))

    def _wanted(self, node: int, state: State) -> Iterable[tuple[int, int]]:
        """The children of a node that a state may allow, with their bytes."""
        if state.at_end() is not None:
            return self._trie.children(node).items()
        wanted = state.candidates()
        if len(wanted) <= _FEW_WANTED:
            child = self._trie.child
            return [(byte, kid) for byte in wanted if (kid := child(node, byte)) >= 0]
        return [(byte, kid) for byte, kid in self._trie.children(node).items() if byte in wanted]

    def _inward(self, kid: int, thread: Thread, step: State | Push | Pop, byte: int, pending: list[Place]) -> None:
        """The same where nobody asks what follows a frame that ends, and nobody watches."""
        if thread.state.is_between and isinstance(step, Push) and self._may_repeat(kid, step.state):
            self.found.doubtful.append(kid)
            return
        assert thread.frame is not None
        if isinstance(step, Push) and thread.frame.depth >= self._max_depth:
            return
        self.found.nodes.append(kid)
        if not isinstance(step, Pop) and self._trie.has_children(kid):
            after = thread.inward(step, byte, self._max_depth)
            assert after is not None
            pending.append((kid, after, UNWATCHED))

    def _may_repeat(self, node: int, state: State | None) -> bool:
        """Whether a name has begun whose bytes say nothing of what the object's names leave of its class.

        The names that one token can say are part of the key under which a mask is kept; all others are not.
        """
        if self._is_exact or not isinstance(state, TextState):
            return False
        if not isinstance(state.core, KeyCore) or not state.core.is_used:
            return False
        return not state.core.is_endless or (
            state.any_escapes and QUOTE in self._trie.byte[node + 1 : self._trie.end[node]]
        )

    def _arrive(self, kid: int, threads: list[Thread], watch: Watch, in_doubt: bool) -> list[Place]:
        if in_doubt:
            self.found.doubtful.append(kid)
            return []
        if threads:
            self.found.nodes.append(kid)
        return [(kid, after, watch) for after in threads] if self._trie.has_children(kid) else []

    def _advance(self, thread: Thread, byte: int, watch: Watch) -> tuple[list[Thread], Watch, bool]:
        """The threads behind a byte, the depths watched there, and whether it takes knowledge to say so."""
        self._resumed.clear()
        threads = thread.advance(byte, self._max_depth, self._behind)
        if watch and threads and thread.frame is not None:
            depth, after = thread.frame.depth, threads[0].frame
            if after is not None and after.depth > depth and depth in watch and thread.state.is_between:
                return [], watch, True
        if self._resumed:
            watch = watch.union(self._resumed)
        return closure(threads, self._keys), watch, False

    def _behind(self, frame: Frame, outcome: Outcome, tape: Tape) -> tuple[State, Frame | None, Tape]:
        """Where a frame that ends goes on; what it said is not asked, so that the walk is good for whatever it was."""
        self.lowest = min(self.lowest, frame.depth)
        if self._is_exact or not frame.back.captures:
            return self._exactly(frame, outcome, tape)
        if frame.back.is_sensitive(outcome):
            self.found.is_sensitive = True  # nothing of this walk will be used, and the tape may lack a string
            return END, None, None
        outer = frame.outer
        self._resumed.append(0 if outer is None else outer.depth)
        return frame.back.resume_unknown(outcome), outer, tape

    def _exactly(self, frame: Frame, outcome: Outcome, tape: Tape) -> tuple[State, Frame | None, Tape]:
        """`behind`, found out once for all bytes that may follow a frame which ends before them."""
        asked, answer = self._last
        if asked is None or asked[0] is not frame or asked[1] != outcome or asked[2] is not tape:
            answer = behind(frame, outcome, tape)
            self._last = ((frame, outcome, tape), answer)
        assert answer is not None
        return answer

    def _ended(self, thread: Thread, outcome: Outcome) -> list[Thread]:
        """The threads behind the end of a thread's frame."""
        assert thread.frame is not None
        if isinstance(thread.frame.back, Sequel):
            return closure(thread.frame.back.begin(thread.frame.outer), self._keys)
        return closure([Thread(*self._behind(thread.frame, outcome, thread.tape))], self._keys)

    def _leaf(self, node: int, thread: Thread, watch: Watch) -> None:
        """A number, a pattern or a free text, taken whole."""
        found = self._slices.get(self._trie, node, thread.state)
        self.found.slices.append(found.inside)
        for outcome in dict.fromkeys(found.outcomes.tolist()):
            exits = found.exits[found.outcomes == outcome]
            self.found.slices.append(exits)
            self._go_on(exits.tolist(), thread, outcome, watch)
        for outcome in dict.fromkeys(found.end_outcomes.tolist()):
            nodes = found.endings[found.end_outcomes == outcome].tolist()
            if thread.frame is not None and isinstance(thread.frame.back, Sequel) and node in nodes:
                nodes.remove(node)  # `closure` has gone on from there
            self._go_on(nodes, thread, outcome, watch)

    def _go_on(self, nodes: list[int], thread: Thread, outcome: Outcome, watch: Watch) -> None:
        """From several nodes on with what follows the thread's frame."""
        nodes = [node for node in nodes if self._trie.has_children(node)]
        if not nodes and thread.frame is not None and not thread.frame.back.captures:
            return
        self._resumed.clear()
        threads = self._ended(thread, outcome)
        watch = watch.union(self._resumed)
        if all(after.state is END for after in threads):
            return
        for node in nodes:
            self.explore(node, threads, watch)

    def _text(self, node: int, thread: Thread, watch: Watch) -> None:
        """The inside of a JSON string, taken whole but for names that are known."""
        state = thread.state
        assert isinstance(state, TextState)
        core, base = state.core, 0
        special: list[int] = []
        if isinstance(core, KeyCore):
            special = self.names(node, thread, watch)
            base, background = core.first_class, core.background()
            if background is None:
                return
            state = background.shell(state.any_escapes)
        found = self._slices.get(self._trie, node, state)
        if special:
            found = found.without(self._trie, special)
        self.found.slices.append(found.inside)
        if not found.exits.size:
            return
        if self._quotes is not None:
            self._behind_quotes(found, thread, base, watch, self._quotes)
            return
        self.found.slices.append(found.exits)
        for outcome in dict.fromkeys(found.outcomes.tolist()):
            self._go_on(found.exits[found.outcomes == outcome].tolist(), thread, base + outcome, watch)

    def _behind_quotes(self, found: Slice, thread: Thread, base: int, watch: Watch, quotes: Quotes) -> None:
        tails = quotes.tails
        if found.exits.size == 1:  # as nearly always: the tokens below one quote
            rows = tails.below(found.exits.item(0))
            tokens, places = tails.tokens[rows], tails.places[rows]
            self._behind_quote(tokens, places, thread, base + found.outcomes.item(0), watch, quotes)
            return
        which, places = tails.rows(found.exits)
        outcomes = found.outcomes[which]
        for outcome in dict.fromkeys(found.outcomes.tolist()):
            here = places[outcomes == outcome]
            self._behind_quote(tails.tokens[here], tails.places[here], thread, base + outcome, watch, quotes)

    def _behind_quote(
        self, tokens: np.ndarray, places: np.ndarray, thread: Thread, outcome: Outcome, watch: Watch, quotes: Quotes
    ) -> None:
        """Of tokens with a quote in them, those that go on behind it with what follows the string."""
        if self._is_exact:
            self.found.doubtful_tokens.append(tokens)
            return
        rest = quotes.rest(thread, outcome, watch)
        self.found.is_sensitive |= rest.is_sensitive
        self.found.tokens.append(tokens[rest.live[places]])
        if rest.doubtful is not None:
            self.found.doubtful_tokens.append(tokens[rest.doubtful[places]])

    def rest(self, thread: Thread, outcome: Outcome, watch: Watch, number: Callable[[np.ndarray], int]) -> Rest:
        """What may follow the thread's string, in a walk over tails from their root."""
        size = len(self._trie)
        live, doubtful = np.zeros(size, dtype=np.bool_), np.zeros(size, dtype=np.bool_)
        self._go_on([0], thread, outcome, watch)
        live[self.found.all_nodes()] = live[0] = True
        for node in self.found.doubtful:
            doubtful[node : self._trie.end[node]] = True
        assert thread.frame is not None
        num_ended = thread.frame.depth - min(self.lowest, thread.frame.depth) + 1
        return Rest(number(live), live, doubtful if self.found.doubtful else None, self.found.is_sensitive, num_ended)

    def names(self, node: int, thread: Thread, watch: Watch) -> list[int]:
        """Walks where a name begins as a known or used one does.

        Returns the nodes at and below which the core's background says nothing.
        """
        special: list[int] = []
        state = thread.state
        assert isinstance(state, TextState) and isinstance(state.core, KeyCore)
        if state.core.is_plain and not state.any_escapes and not self._is_exact:
            return self._plain_names(node, thread, state.core, watch)
        pending = [(node, thread)]
        while pending:
            at, reached = pending.pop()
            state, kids = reached.state, self._trie.children(at)
            assert isinstance(state, TextState) and isinstance(state.core, KeyCore)
            wanted = state.core.special_bytes()
            if state.any_escapes:
                wanted.add(0x5C)
            for byte in wanted if kids else ():
                kid = kids.get(byte)
                if kid is None:
                    continue
                if byte in (QUOTE, 0x5C):
                    special.append(kid)
                    for onward in self._arrive(kid, *self._advance(reached, byte, watch)):
                        self.explore(onward[0], [onward[1]], onward[2])
                    continue
                further = reached.advance(byte, self._max_depth)
                if not further:
                    special.append(kid)  # the object has used all names of the class that begin so
                for after in further:
                    assert isinstance(after.state, TextState) and isinstance(after.state.core, KeyCore)
                    if after.state.core.background() is None:
                        self.found.nodes.append(kid)
                    pending.append((kid, after))
        return special

    def _plain_names(self, node: int, thread: Thread, core: KeyCore, watch: Watch) -> list[int]:
        """The same by the tries of names alone, without making the states in between."""
        special = list[int]()
        known, used = core.nodes
        if known is not None and not core.has_class:
            for places, nodes in self._paths.of(self._trie, node, known).groups:
                if any(map(core.allows, places)):
                    self.found.nodes.extend(nodes)
        for quote, place in self._paths.ends(self._trie, node, known) if known is not None else ():
            special.append(quote)
            if core.allows(place):
                self.found.nodes.append(quote)
                self._go_on([quote], thread, place, watch)
        if used is not None:
            special.extend(quote for quote, _ in name_ends(self._trie, node, used))
        return special
