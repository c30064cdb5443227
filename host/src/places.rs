//! What kind of place an address is. Servers on this machine, on a private
//! network or inside a cloud trust everybody who can reach them, so a plugin
//! reaches them only where the user or the host's policy says so.
//!
//! This is the one policy: it is asked about addresses that are written out
//! (`reach`) and about those that a name leads to (`http::resolver`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// What kind of place an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Anybody may reach it.
    Public,
    /// This machine itself.
    ThisMachine,
    /// The link that this machine is connected to, where clouds keep the
    /// services that give out a machine's identity.
    LinkLocal,
    /// A cloud's internal services.
    Cloud,
    /// A private network.
    Private,
    /// Several machines at once, or none.
    Reserved,
}

impl Place {
    /// The place of an address, whichever way it is written: an IPv4 address
    /// that an IPv6 address carries counts as itself.
    pub(crate) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => match carried(address).map(Self::of_v4) {
                None | Some(Self::Public) => Self::of_v6(address),
                Some(place) => place,
            },
        }
    }

    /// Whether a request to it never goes through a proxy: elsewhere the same
    /// address is another machine.
    pub(crate) fn is_next_door(self) -> bool {
        matches!(self, Self::ThisMachine | Self::LinkLocal | Self::Cloud)
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let mut places = V4.iter();
        let found = places.find(|(net, _)| net.contains(&address));
        found.map_or(Self::Public, |(_, place)| *place)
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let mut places = V6.iter();
        let found = places.find(|(net, _)| net.contains(&address));
        found.map_or(Self::Public, |(_, place)| *place)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "a public address",
            Self::ThisMachine => "this machine",
            Self::LinkLocal => "a link-local address, where clouds keep a machine's identity",
            Self::Cloud => "an address of a cloud's internal services",
            Self::Private => "an address of a private network",
            Self::Reserved => "not an address of a single server",
        })
    }
}

/// Every IPv4 network that is not public; the first that fits counts.
/// <https://www.iana.org/assignments/iana-ipv4-special-registry>
const V4: &[(Ipv4Net, Place)] = &[
    (v4([0, 0, 0, 0], 8), Place::ThisMachine),
    (v4([127, 0, 0, 0], 8), Place::ThisMachine),
    (v4([169, 254, 0, 0], 16), Place::LinkLocal),
    // Azure's DNS, health probes and agent.
    (v4([168, 63, 129, 16], 32), Place::Cloud),
    // Alibaba's metadata, inside what carriers use.
    (v4([100, 100, 100, 200], 32), Place::Cloud),
    // Oracle's older metadata among them.
    (v4([192, 0, 0, 0], 24), Place::Cloud),
    (v4([10, 0, 0, 0], 8), Place::Private),
    (v4([100, 64, 0, 0], 10), Place::Private),
    (v4([172, 16, 0, 0], 12), Place::Private),
    (v4([192, 168, 0, 0], 16), Place::Private),
    (v4([224, 0, 0, 0], 4), Place::Reserved),
    (v4([240, 0, 0, 0], 4), Place::Reserved),
];

/// Every IPv6 network that is not public; the first that fits counts.
/// <https://www.iana.org/assignments/iana-ipv6-special-registry>
const V6: &[(Ipv6Net, Place)] = &[
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), Place::ThisMachine),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), Place::ThisMachine),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), Place::LinkLocal),
    // The metadata of AWS and of Google.
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32), Place::Cloud),
    (v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0], 32), Place::Cloud),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), Place::Private),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), Place::Private),
    // An operator's own translation to IPv4, which leads into its network.
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), Place::Private),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), Place::Reserved),
];

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

/// The IPv4 address that a packet to this one may end up at.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    match (a, b, c, d, e, f) {
        // Mapped (::ffff:1.2.3.4), translated (::ffff:0:1.2.3.4), compatible
        // (::1.2.3.4, but neither :: nor ::1).
        (0, 0, 0, 0, 0, 0xffff) | (0, 0, 0, 0, 0xffff, 0) => Some(joined(g, h)),
        (0, 0, 0, 0, 0, 0) if g != 0 => Some(joined(g, h)),
        // NAT64.
        (0x64, 0xff9b, 0, 0, 0, 0) => Some(joined(g, h)),
        // 6to4.
        (0x2002, ..) => Some(joined(b, c)),
        // Teredo, which hides the client's address by inverting it.
        (0x2001, 0, ..) => Some(joined(!g, !h)),
        // ISATAP, under any network's prefix.
        (_, _, _, _, 0 | 0x200, 0x5efe) => Some(joined(g, h)),
        _ => None,
    }
}

fn joined(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_its_place() {
        use Place::*;
        for (address, place) in [
            ("20.60.1.2", Public),
            ("192.0.2.1", Public),
            ("9.255.255.255", Public),
            ("11.0.0.0", Public),
            ("172.15.255.255", Public),
            ("172.32.0.0", Public),
            ("100.63.255.255", Public),
            ("100.128.0.0", Public),
            ("168.63.129.15", Public),
            ("2603:1030::1", Public),
            ("2001:db8::1", Public),
            ("64:ff9b::14.3.2.1", Public),
            ("2002:1403:201::1", Public),
            ("127.0.0.1", ThisMachine),
            ("127.9.9.9", ThisMachine),
            ("0.0.0.0", ThisMachine),
            ("0.1.2.3", ThisMachine),
            ("::", ThisMachine),
            ("::1", ThisMachine),
            ("::ffff:127.0.0.1", ThisMachine),
            ("::127.0.0.1", ThisMachine),
            ("::ffff:0:127.0.0.1", ThisMachine),
            ("64:ff9b::127.0.0.1", ThisMachine),
            ("2002:7f00:1::", ThisMachine),
            ("169.254.169.254", LinkLocal),
            ("169.254.0.1", LinkLocal),
            ("fe80::1", LinkLocal),
            ("febf::1", LinkLocal),
            ("::ffff:169.254.169.254", LinkLocal),
            ("64:ff9b::a9fe:a9fe", LinkLocal),
            ("2002:a9fe:a9fe::1", LinkLocal),
            // 169.254.169.254, inverted.
            ("2001:0:1:2:3:4:5601:5601", LinkLocal),
            ("2603:1030::5efe:169.254.169.254", LinkLocal),
            ("168.63.129.16", Cloud),
            ("::ffff:168.63.129.16", Cloud),
            ("100.100.100.200", Cloud),
            ("192.0.0.192", Cloud),
            ("fd00:ec2::254", Cloud),
            ("fd20:ce::254", Cloud),
            ("10.0.0.1", Private),
            ("10.255.255.255", Private),
            ("172.16.0.1", Private),
            ("172.31.255.255", Private),
            ("192.168.0.1", Private),
            ("100.64.0.1", Private),
            ("100.127.255.255", Private),
            ("fc00::1", Private),
            ("fd12:3456::1", Private),
            ("fec0::1", Private),
            ("::ffff:10.0.0.1", Private),
            ("64:ff9b::10.0.0.1", Private),
            ("64:ff9b:1::1", Private),
            ("2002:a00:1::1", Private),
            ("224.0.0.1", Reserved),
            ("255.255.255.255", Reserved),
            ("ff02::1", Reserved),
        ] {
            assert_eq!(Place::of(address.parse().unwrap()), place, "{address}");
        }
    }
}
