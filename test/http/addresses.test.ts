import { describe, expect, it } from 'vitest';
import { addressTest } from '../../src/http/addresses.ts';

describe('Whether an address is in a range', () => {
  const inside = addressTest(['10.0.0.0/8', '192.0.2.7', '2001:db8::/32']);

  it.each([
    ['10.1.2.3', true],
    ['11.1.2.3', false],
    ['192.0.2.7', true],
    ['192.0.2.8', false],
    ['::ffff:10.1.2.3', true],
    ['2001:db8::1', true],
    ['2001:db9::1', false],
    ['', false],
    ['10.1.2', false],
    ['10.1.2.3, 10.1.2.4', false],
    ['localhost', false],
    [undefined, false],
  ])('%s: %s, asked once or twice, of a connection or of a header', (address, expected) => {
    expect([inside(address), inside(address), inside(address, 1)]).toEqual([expected, expected, expected]);
  });

  it('is told right of more addresses than are remembered', () => {
    for (let index = 0; index < 3000; index += 1) {
      const rest = `${index >> 8}.${index & 255}`;
      expect([inside(`10.0.${rest}`), inside(`172.16.${rest}`)]).toEqual([true, false]);
    }
    expect(inside('10.0.0.0')).toBe(true);
  });
});
