/** Network addresses, and whose they are. */
import { BlockList, isIP, isIPv6 } from 'node:net';

/** Addresses that are remembered; beyond, the memory begins anew. */
const REMEMBERED = 1000;

/**
 * @param ranges addresses and CIDR ranges
 * @returns whether an address is in one of them; of anything else, no. Its second parameter is how many hops before us the
 *   address is named: 0 is the connection's own, which nobody can invent
 */
export function addressTest(ranges: readonly string[]): (address: string | undefined, hop?: number) => boolean {
  const list = new BlockList();
  for (const range of ranges) {
    const [address = '', bits] = range.split('/');
    const family = isIPv6(address) ? 'ipv6' : 'ipv4';
    if (bits === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(bits), family);
  }
  const check = (address: string) => isIP(address) !== 0 && list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
  // Each request asks about one of a few proxies, and the list is slow to tell. What a header says is not remembered: its
  // parts would keep the whole of it.
  const known = new Map<string, boolean>();
  return (address, hop = 0) => {
    if (address === undefined) return false;
    if (hop > 0) return check(address);
    let inside = known.get(address);
    if (inside === undefined) {
      inside = check(address);
      if (known.size >= REMEMBERED) known.clear();
      known.set(address, inside);
    }
    return inside;
  };
}
