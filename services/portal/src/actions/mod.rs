//! What pages and API do alike, one module a topic. Each reads, decides and saves in one change of
//! the store, and tells what came of it.
