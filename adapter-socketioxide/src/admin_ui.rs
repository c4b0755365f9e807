//! The numbers that the admin UI shows of this server.

use std::collections::HashSet;

use sio_streams_driver::admin_ui::Counts;
use socketioxide_core::Sid;

use crate::cluster::Cluster;

impl Cluster {
    /// Counts this server's clients and sockets, for [`report`](sio_streams_driver::admin_ui::report).
    ///
    /// `polling_clients` is 0: an adapter does not know transports. An application that lets clients
    /// poll can count those of its sockets whose `transport_type` says so.
    pub fn counts(&self) -> Counts {
        let mut clients: HashSet<Sid> = HashSet::new();
        let namespaces = self.namespaces.names().into_iter().map(|nsp| {
            let adapters = self.namespaces.adapters(&nsp);
            let sockets: HashSet<Sid> = adapters.iter().flat_map(|adapter| adapter.ids()).collect();
            // A client's sockets have the same id in all namespaces: that of its connection.
            clients.extend(&sockets);
            (nsp, sockets.len() as u64)
        });
        let namespaces = namespaces.collect();
        Counts { clients: clients.len() as u64, polling_clients: 0, namespaces }
    }
}
