import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OAuthError } from '../../src/protocol/errors.ts';
import { Parameters, parseForm } from '../../src/protocol/message.ts';

describe('form decoding (RFC 6749 Appendix B)', () => {
  it.each<[string, [string, string][]]>([
    ['', []],
    ['&&', []],
    ['a=1', [['a', '1']]],
    [
      'a=1&b=2',
      [
        ['a', '1'],
        ['b', '2'],
      ],
    ],
    [
      'a=1&a=2',
      [
        ['a', '1'],
        ['a', '2'],
      ],
    ],
    ['a', [['a', '']]],
    ['a=', [['a', '']]],
    ['=a', [['', 'a']]],
    ['a=b=c', [['a', 'b=c']]],
    ['a=b+c%20d', [['a', 'b c d']]],
    ['a+b=1', [['a b', '1']]],
    ['a=%2B%26%3D%25', [['a', '+&=%']]],
    ['a=%C3%A9', [['a', 'é']]],
    ['a=é', [['a', 'é']]],
    ['a=%F0%9F%97%9D', [['a', '🗝']]],
    // A replacement character that the sender wrote is a character like any other.
    ['a=%EF%BF%BD', [['a', '\uFFFD']]],
    ['a;b=1', [['a;b', '1']]],
    ['a[]=1', [['a[]', '1']]],
    ['__proto__=1', [['__proto__', '1']]],
  ])('%j is %j', (text, pairs) => {
    expect(parseForm(text)).toEqual(pairs);
  });

  it.each([
    'a=%',
    'a=%2',
    'a=%zz',
    'a=%u0041',
    '%=a',
    'a=%C3',
    'a=%C3%28',
    'a=%C0%AF',
    'a=%ED%A0%80',
    'a=%F5%80%80%80',
    'a=%FF',
    'a=%00',
    'a=\0',
    '%00=a',
    'ok=1&a=b%00c',
    // What a lenient transport makes of bytes that are not UTF-8.
    'a=\uFFFD',
    '\uFFFD=a',
  ])('%j is refused, not repaired', (text) => {
    const parse = () => parseForm(text);
    expect(parse).toThrow(OAuthError);
    expect(parse).toThrow(expect.objectContaining({ code: 'invalid_request', status: 400 }));
  });

  it('reads back whatever URLSearchParams wrote', () => {
    const text = fc.string({ unit: 'grapheme' }).filter((value) => !value.includes('\0'));
    fc.assert(
      fc.property(fc.array(fc.tuple(text, text)), (pairs) => {
        expect(parseForm(new URLSearchParams(pairs).toString())).toEqual(pairs.map(([name, value]) => [name, value]));
      }),
    );
  });

  it('never fails but with invalid_request', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        try {
          parseForm(text);
        } catch (error) {
          expect(error).toBeInstanceOf(OAuthError);
        }
      }),
    );
  });
});

describe('a parameter set (RFC 6749 §3.1)', () => {
  const set = (text: string) => new Parameters(parseForm(text));

  it('treats a parameter without a value as absent, and so as no repetition', () => {
    const parameters = set('state=&state=a&code');
    expect(parameters.get('state')).toBe('a');
    expect(parameters.isRepeated('state')).toBe(false);
    expect(parameters.get('code')).toBeUndefined();
    expect(() => parameters.refuseRepeats()).not.toThrow();
  });

  it.each(['a=1&a=2', 'a=1&a=1', 'x=1&a=1&y=2&a=1', '__proto__=1&__proto__=2', 'constructor=1&constructor=1'])(
    'refuses the repetition in %s',
    (text) => {
      expect(() => set(text).refuseRepeats()).toThrow(expect.objectContaining({ code: 'invalid_request' }));
    },
  );

  it.each(['resource', 'audience'])('lets %s be repeated (RFC 8707 §2, RFC 8693 §2.1)', (name) => {
    const parameters = set(`${name}=b&${name}=a&${name}=b`);
    expect(() => parameters.refuseRepeats()).not.toThrow();
    expect(parameters.all(name)).toEqual(['b', 'a', 'b']);
  });

  it.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty'])('has no %s of its own making', (name) => {
    expect(set('a=1').get(name)).toBeUndefined();
    expect(set('a=1').all(name)).toEqual([]);
    expect(set(`${name}=x`).get(name)).toBe('x');
    expect(({} as Record<string, unknown>).x).toBeUndefined();
  });

  it('survives being written down and read again', () => {
    const parameters = set('scope=a+b&resource=r2&state=%26&resource=r1&empty=');
    const again = new Parameters(JSON.parse(JSON.stringify(parameters.pairs())) as [string, string][]);
    expect(again.pairs()).toEqual(parameters.pairs());
    expect(again.all('resource')).toEqual(['r2', 'r1']);
    expect(again.get('state')).toBe('&');
  });
});
