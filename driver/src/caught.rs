//! Panics in a backend's code, or in that of an application that is called back. They must not end
//! the task that they happen in, nor everything that waits for the task.

use core::any::Any;
use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Returns the future's output, or the message of its panic. After a panic the caller must not use
/// what the future may have changed.
pub(crate) async fn caught<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panic) => Poll::Ready(Err(crate::wire::for_log(&format!("the backend has {}", words(&*panic))))),
    })
    .await
}

/// Returns the message of a panic, as "panicked: …".
pub(crate) fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("without words"))
}
