//! Packing on all cores, with the result of one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// `work` on every item, by this many threads; results in the order of the items.
pub(crate) fn map<I: Sync, O: Send>(
    items: &[I],
    threads: usize,
    work: impl Fn(&I) -> O + Sync,
) -> Vec<O> {
    let next = AtomicUsize::new(0);
    let (send, receive) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, items.len().max(1)) {
            let (send, next, work) = (send.clone(), &next, &work);
            scope.spawn(move || {
                while let Some((index, item)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    items.get(index).map(|item| (index, item))
                } {
                    // The receiver lives until all threads have ended.
                    let _ = send.send((index, work(item)));
                }
            });
        }
        drop(send);
        let mut results: Vec<(usize, O)> = receive.iter().collect();
        results.sort_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    })
}
