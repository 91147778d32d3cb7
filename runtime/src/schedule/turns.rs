//! Who is next: one of each client in turn, single questions before groups, and nobody for ever last.

use std::collections::VecDeque;

/// Single questions that may overtake a group that waits, before one of the group's is next: a group gets a fifth of
/// what comes free at least, and a single question waits for one of a group's at most.
pub(super) const SINGLES_IN_A_ROW: usize = 4;

/// How a call is ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// One question, whose caller waits for it.
    Single,
    /// Many questions, whose caller waits for the last of them.
    Group,
}

/// Who asks: callers of one client stand in one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Who {
    /// The client.
    pub(crate) client: u64,
    /// The class.
    pub(crate) class: Class,
}

/// Lines of many clients, from each of which one is taken in turn.
#[derive(Debug)]
pub(super) struct Turns<T> {
    /// The clients that wait, the next one first; none has an empty line.
    lines: VecDeque<(u64, VecDeque<T>)>,
}

impl<T: Copy + PartialEq> Turns<T> {
    pub(super) fn new() -> Turns<T> {
        Turns { lines: VecDeque::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    fn line(&mut self, client: u64) -> Option<&mut VecDeque<T>> {
        self.lines.iter_mut().find(|(of, _)| *of == client).map(|(_, line)| line)
    }

    /// To the end of its client's line.
    pub(super) fn push(&mut self, client: u64, item: T) {
        match self.line(client) {
            Some(line) => line.push_back(item),
            None => self.lines.push_back((client, VecDeque::from([item]))),
        }
    }

    /// Back to the front of its client's line, and the client to the front: it had its turn and lost it.
    fn push_back_in(&mut self, client: u64, item: T) {
        let mut line = match self.lines.iter().position(|(of, _)| *of == client) {
            Some(at) => self.lines.remove(at).map(|(_, line)| line).unwrap_or_default(),
            None => VecDeque::new(),
        };
        line.push_front(item);
        self.lines.push_front((client, line));
    }

    fn peek(&self) -> Option<T> {
        self.lines.front().and_then(|(_, line)| line.front()).copied()
    }

    /// The next one; its client goes to the end.
    pub(super) fn pop(&mut self) -> Option<T> {
        let (client, mut line) = self.lines.pop_front()?;
        let item = line.pop_front();
        if !line.is_empty() {
            self.lines.push_back((client, line));
        }
        item
    }

    /// Takes one out of its line; false when it is not there.
    pub(super) fn remove(&mut self, client: u64, item: T) -> bool {
        let Some(line) = self.line(client) else { return false };
        let Some(at) = line.iter().position(|one| *one == item) else { return false };
        line.remove(at);
        self.lines.retain(|(_, line)| !line.is_empty());
        true
    }
}

/// Both classes of those who wait for the same thing.
#[derive(Debug)]
pub(super) struct Fair<T> {
    singles: Turns<T>,
    groups: Turns<T>,
    /// Single questions that were next one after the other while a group waited.
    row: usize,
}

impl<T: Copy + PartialEq> Fair<T> {
    pub(super) fn new() -> Fair<T> {
        Fair { singles: Turns::new(), groups: Turns::new(), row: 0 }
    }

    fn of(&mut self, class: Class) -> &mut Turns<T> {
        match class {
            Class::Single => &mut self.singles,
            Class::Group => &mut self.groups,
        }
    }

    pub(super) fn push(&mut self, who: Who, item: T) {
        self.of(who.class).push(who.client, item);
    }

    /// Puts one that was next, and had to give way, back to where it stood.
    pub(super) fn push_back_in(&mut self, who: Who, item: T) {
        self.of(who.class).push_back_in(who.client, item);
    }

    pub(super) fn remove(&mut self, who: Who, item: T) -> bool {
        self.of(who.class).remove(who.client, item)
    }

    /// Whether single questions wait.
    pub(super) fn has_singles(&self) -> bool {
        !self.singles.is_empty()
    }

    fn class(&self) -> Class {
        if self.has_singles() && (self.groups.is_empty() || self.row < SINGLES_IN_A_ROW) {
            Class::Single
        } else {
            Class::Group
        }
    }

    /// Who is next, and of which class.
    pub(super) fn peek(&self) -> Option<(Class, T)> {
        let class = self.class();
        let next = if class == Class::Single { self.singles.peek() } else { self.groups.peek() };
        Some((class, next?))
    }

    /// Takes the next one.
    pub(super) fn pop(&mut self) -> Option<T> {
        let class = self.class();
        self.row = if class == Class::Single && !self.groups.is_empty() { self.row + 1 } else { 0 };
        self.of(class).pop()
    }
}
