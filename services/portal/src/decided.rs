//! Answers that must not be given before state is kept.

/// What was decided, and the state that it is decided under.
///
/// A try that is answered before it is counted on the card costs nothing to whoever
/// pulls the plug in between. So the answer comes out only through [`Decided::keep`].
#[derive(Debug)]
#[must_use = "the state must be kept, or the decision never happened"]
pub struct Decided<S, A> {
    state: S,
    answer: A,
    changed: bool,
}

impl<S, A> Decided<S, A> {
    pub(crate) fn new(state: S, answer: A) -> Self {
        Self {
            state,
            answer,
            changed: true,
        }
    }

    /// The state is as it was: nobody wears the card out by asking.
    pub(crate) fn unchanged(state: S, answer: A) -> Self {
        Self {
            state,
            answer,
            changed: false,
        }
    }

    /// The same decision about something that holds this state.
    pub(crate) fn map<T, B>(
        self,
        state: impl FnOnce(S) -> T,
        answer: impl FnOnce(A) -> B,
    ) -> Decided<T, B> {
        Decided {
            state: state(self.state),
            answer: answer(self.answer),
            changed: self.changed,
        }
    }

    /// Keeps the state with `save`, which returns once it is on the card for good, and is
    /// not called if nothing changed; then gives the state and the answer away.
    ///
    /// # Errors
    /// The one of `save`. State and answer are lost: what is on the card is to be read again.
    pub fn keep<E>(self, save: impl FnOnce(&S) -> Result<(), E>) -> Result<(S, A), E> {
        if self.changed {
            save(&self.state)?;
        }
        Ok((self.state, self.answer))
    }
}

#[cfg(test)]
impl<S, A> Decided<S, A> {
    /// For tests, in which memory is durable.
    pub(crate) fn kept(self) -> (S, A) {
        (self.state, self.answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_without_a_save() {
        let decided = || Decided::new(1, "yes");
        assert_eq!(decided().keep(|_| Err("disk full")), Err("disk full"));
        assert_eq!(decided().keep(|_| Ok::<_, ()>(())), Ok((1, "yes")));
        let unchanged = Decided::unchanged(1, "no");
        assert_eq!(unchanged.keep(|_| Err("disk full")), Ok((1, "no")));
    }
}
