// A list of what arrived, and a way to wait until it is long enough.

export class Journal {
  #entries = [];
  #waiters = new Set();

  add(entry) {
    this.#entries.push(entry);
    for (const waiter of [...this.#waiters]) {
      waiter();
    }
  }

  list(event) {
    return event === undefined ? [...this.#entries] : this.#entries.filter((entry) => entry.event === event);
  }

  clear() {
    this.#entries = [];
  }

  // Resolves with the entries of an event once there are `count`; rejects after the bound.
  wait(event, count, timeoutMs) {
    return new Promise((resolve, reject) => {
      const check = () => {
        const found = this.list(event);
        if (found.length >= count) {
          clearTimeout(timer);
          this.#waiters.delete(check);
          resolve(found);
        }
      };
      const timer = setTimeout(() => {
        this.#waiters.delete(check);
        const found = this.list(event).length;
        reject(new Error(`timed out: ${found} of ${count} "${event ?? "any event"}" after ${timeoutMs} ms`));
      }, timeoutMs);
      this.#waiters.add(check);
      check();
    });
  }
}
