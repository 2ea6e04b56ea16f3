use super::*;
use crate::supervisor::standing::Standing;
use crate::supervisor::tests::{installed, short, supervisor};
use crate::supervisor::{Snapshot, Status};

/// Where there are no pidfds, every end of a child wakes all workers.
#[test]
fn a_module_that_waits_for_its_turn_is_no_news() {
    let supervisor = supervisor(installed);
    let (web, context) = (short("wiki"), Arc::clone(&supervisor.context));
    let board = supervisor.board(&web);
    let published = Arc::new(Published::new(Snapshot::stopped(web.clone()), Arc::clone(&board), Arc::new(|| {})));
    let inbox = Arc::new(Inbox::new().expect("a descriptor"));
    published.await_turn();
    let mut worker = Worker::new(web, Arc::clone(&context), inbox, published, Arc::new(Ring::new(1024, 0)));
    worker.hear(ForWorker::Look);
    worker.publish();
    assert!(context.main.take().is_empty(), "nobody goes on because of it");
    assert_eq!(board.get(), Some(Standing::Starting), "its callers are told that it is on its way");
    worker.hear(ForWorker::Stop(None));
    worker.publish();
    assert_eq!(context.main.take().len(), 1, "whoever waits for it goes on");
    worker.published.await_turn();
    assert_eq!(worker.published.get().status, Status::Stopped, "its turn comes too late");
    assert_eq!(board.get(), Some(Standing::Stopped));
}
