//! How QUIC is set up: every number of it, with its reason.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::{BbrConfig, CubicConfig};
use quinn::udp::UdpSocketState;
use quinn::{
    Endpoint, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TokioRuntime, TransportConfig, VarInt,
};

/// Protocol name in the TLS handshake. Only incompatible versions of the whole protocol get another.
pub(crate) const ALPN: &[u8] = b"csync/1";
/// Streams that a peer may have open at once. The engine uses a handful; the rest is for later versions.
const STREAMS_MAX: u32 = 64;
/// One stream may fill a path of 1 Gbit/s and 64 ms alone; quinn's default of 1.25 MB stops at 25 MB/s and 50 ms.
const STREAM_WINDOW: u32 = 8 << 20;
/// All streams together. Also the most that a peer can make us keep for readers that do not read.
const CONNECTION_WINDOW: u32 = 12 << 20;
/// Unacknowledged bytes we keep for sending again: as much as one stream may have in flight.
const SEND_WINDOW: u64 = 8 << 20;
/// A peer that says nothing at all for so long is gone.
pub(crate) const IDLE: Duration = Duration::from_secs(30);
/// Thrice in [`IDLE`], so that two lost packets do not end a quiet connection; also keeps NAT mappings.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Socket buffers: at 1 GB/s 4 MiB are 4 ms of a busy machine. It is also the usual limit of the kernel.
const SOCKET_BUFFER: usize = 4 << 20;
/// Largest UDP payload over IPv4. Over loopback such datagrams halve the CPU time per byte.
const LOOPBACK_DATAGRAM: u16 = 65_507;
/// Bytes in flight over loopback at first. In quinn's own 12,000 not even one of the large datagrams fits.
const LOOPBACK_WINDOW: u64 = 1 << 20;
/// Largest datagram elsewhere, found by probing. Above 6,550 bytes quinn's batches of 10 exceed the 64 KiB that the
/// kernel segments at once, and throughput collapses.
const LAN_DATAGRAM: u16 = 6_500;

/// Returns the settings of a connection with `peer`. With a `rate` (bytes per second), windows that hold about half
/// a second of it, so that a limited reader is not first sent megabytes it did not want yet. With a `patience` below
/// [`IDLE`], the peer is asked often enough for its silence to be noticed that soon.
pub(crate) fn transport(peer: IpAddr, rate: Option<u64>, patience: Option<Duration>) -> TransportConfig {
    let mut config = TransportConfig::default();
    let loopback = peer.to_canonical().is_loopback();
    let idle = patience.map_or(IDLE, |patience| patience.min(IDLE));
    let window = |full: u32| VarInt::from_u32(receive_window(full, rate));
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(window(STREAM_WINDOW))
        .receive_window(window(CONNECTION_WINDOW))
        .send_window(SEND_WINDOW)
        .max_idle_timeout(IdleTimeout::try_from(idle).ok())
        .keep_alive_interval(Some(KEEP_ALIVE.min(idle / 3)));
    if loopback {
        // Every path there carries the largest: probes of that size would weigh more than many a run.
        config.initial_mtu(LOOPBACK_DATAGRAM).mtu_discovery_config(None);
        // Nothing is lost there, and the largest datagrams leave nothing to segment.
        let mut cubic = CubicConfig::default();
        cubic.initial_window(LOOPBACK_WINDOW);
        config.congestion_controller_factory(Arc::new(cubic));
        config.enable_segmentation_offload(false);
    } else {
        let mut discovery = MtuDiscoveryConfig::default();
        discovery.upper_bound(LAN_DATAGRAM);
        config.mtu_discovery_config(Some(discovery));
        // At 1 % loss and 50 ms Cubic moves 3 Mbit/s of 100, BBR 84. On a fast quiet LAN BBR costs a tenth. A private
        // address does not tell which of both it is (it may be a VPN), so the safe choice is made for all.
        config.congestion_controller_factory(Arc::new(BbrConfig::default()));
    }
    config
}

/// Returns how many bytes a peer may send ahead of us under a limit of `rate` bytes per second.
pub(crate) fn receive_window(full: u32, rate: Option<u64>) -> u32 {
    match rate {
        None => full,
        Some(rate) => u32::try_from(rate / 2).unwrap_or(full).clamp(64 << 10, full),
    }
}

/// As [`receive_window`], for all streams of a connection together.
pub(crate) fn connection_window(rate: Option<u64>) -> u32 {
    receive_window(CONNECTION_WINDOW, rate)
}

/// Returns an endpoint at `address` that takes datagrams of every size, its socket with large buffers.
///
/// # Errors
/// The address is in use, is not ours, or the system has no descriptors left.
pub(crate) fn endpoint(address: SocketAddr, server: Option<quinn::ServerConfig>) -> io::Result<Endpoint> {
    let socket = UdpSocket::bind(address)?;
    let state = UdpSocketState::new((&socket).into())?;
    // The kernel may grant less; the transfer is then slower, not wrong.
    state.set_send_buffer_size((&socket).into(), SOCKET_BUFFER).ok();
    state.set_recv_buffer_size((&socket).into(), SOCKET_BUFFER).ok();
    let mut config = EndpointConfig::default();
    // A peer never sends more than this, so it must cover what discovery may find.
    config.max_udp_payload_size(LOOPBACK_DATAGRAM).map_err(io::Error::other)?;
    Endpoint::new(config, server, socket, Arc::new(TokioRuntime))
}
