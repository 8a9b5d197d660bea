import { randomBytes } from 'node:crypto';
import reference from 'argon2';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Unavailable } from '../../src/protocol/errors.ts';
import {
  type CredentialKind,
  deriveKey,
  equals,
  hmac,
  idFloor,
  isUuid,
  mintCredential,
  mintId,
  Passwords,
  parseCredential,
  seal,
  sha256,
  unseal,
} from '../../src/protocol/secrets.ts';

const KINDS: CredentialKind[] = ['access_token', 'refresh_token', 'authorization_code', 'client_secret', 'session'];
const moment = fc.date({ min: new Date('2000-01-01'), max: new Date('9999-01-01'), noInvalidDate: true });
const random = (size: number) => randomBytes(size);

describe('credentials', () => {
  it('come back as they were made', () => {
    fc.assert(
      fc.property(fc.constantFrom(...KINDS), moment, (kind, now) => {
        const { value, id, hash, secret } = mintCredential(kind, now, random);
        expect(parseCredential(kind, value)).toEqual({ id, hash, secret });
        expect(hash).toEqual(sha256(secret));
        expect(secret).toHaveLength(32);
        expect(value).toMatch(/^[a-z_]+[A-Za-z0-9_-]{64}$/);
      }),
    );
  });

  it('are of one kind only', () => {
    for (const kind of KINDS) {
      const { value } = mintCredential(kind, new Date(), random);
      expect(KINDS.filter((other) => parseCredential(other, value))).toEqual([kind]);
    }
  });

  it.each([undefined, '', 'gate_at_', `gate_at_${'A'.repeat(63)}`, `gate_at_${'A'.repeat(65)}`, 'A'.repeat(72)])(
    '%j is none',
    (value) => {
      expect(parseCredential('access_token', value)).toBeUndefined();
    },
  );

  it('are another one, or none, when any character is changed', () => {
    const { value, id, hash } = mintCredential('access_token', new Date(), random);
    fc.assert(
      fc.property(
        fc.nat(value.length - 1),
        fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
        (at, character) => {
          fc.pre(value[at] !== character);
          const changed = parseCredential('access_token', value.slice(0, at) + character + value.slice(at + 1));
          if (changed) expect([changed.id, changed.hash.toString('hex')]).not.toEqual([id, hash.toString('hex')]);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('are none with anything before, after or in between', () => {
    const { value } = mintCredential('refresh_token', new Date(), random);
    fc.assert(
      fc.property(fc.nat(value.length), fc.string({ minLength: 1, maxLength: 3 }), (at, more) => {
        expect(parseCredential('refresh_token', value.slice(0, at) + more + value.slice(at))).toBeUndefined();
      }),
    );
  });
});

describe('ids', () => {
  it('are UUIDs of version 7 (RFC 9562 §5.7), in the order of time', () => {
    fc.assert(
      fc.property(moment, fc.integer({ min: 1, max: 1_000_000_000 }), (now, later) => {
        const id = mintId(now, random);
        expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
        expect(isUuid(id)).toBe(true);
        expect(Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16)).toBe(now.getTime());
        expect(idFloor(now) <= id).toBe(true);
        expect(id < idFloor(new Date(now.getTime() + later))).toBe(true);
      }),
    );
  });

  it.each([
    undefined,
    '',
    'x',
    '0F8FAD5B-D9CB-469F-A165-70867728950E',
    '0f8fad5bd9cb469fa16570867728950e',
    ' 0f8fad5b-d9cb-469f-a165-70867728950e',
  ])('%j is no id as we write them', (text) => {
    expect(isUuid(text)).toBe(false);
  });
});

describe('sealing', () => {
  const key = randomBytes(32);

  it('opens what it closed, for the same key and context', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.string(), (bytes, context) => {
        expect(unseal(key, seal(key, Buffer.from(bytes), context, random), context)).toEqual(Buffer.from(bytes));
      }),
    );
  });

  it('never closes the same thing alike', () => {
    const texts = Array.from({ length: 20 }, () => seal(key, Buffer.from('text'), 'context', random).toString('hex'));
    expect(new Set(texts).size).toBe(20);
  });

  it('opens nothing with another key, in another place, or with a bit changed', () => {
    const sealed = seal(key, Buffer.from('a private key'), 'place', random);
    expect(unseal(randomBytes(32), sealed, 'place')).toBeUndefined();
    expect(unseal(key, sealed, 'another place')).toBeUndefined();
    for (let bit = 0; bit < sealed.length * 8; bit += 1) {
      const changed = Buffer.from(sealed);
      changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      expect(unseal(key, changed, 'place')).toBeUndefined();
    }
  });

  it('opens nothing of any other length', () => {
    const sealed = seal(key, Buffer.from('a private key'), 'place', random);
    for (let length = 0; length < sealed.length; length += 1) {
      expect(unseal(key, sealed.subarray(0, length), 'place')).toBeUndefined();
    }
    expect(unseal(key, Buffer.concat([sealed, Buffer.alloc(1)]), 'place')).toBeUndefined();
  });

  it('derives a key for each purpose and salt', () => {
    const secret = randomBytes(32);
    const derived = [
      deriveKey(secret, 'salt', 'purpose'),
      deriveKey(secret, 'salt', 'another purpose'),
      deriveKey(secret, 'another salt', 'purpose'),
      deriveKey(randomBytes(32), 'salt', 'purpose'),
    ];
    expect(new Set(derived.map((one) => one.toString('hex'))).size).toBe(4);
    expect(deriveKey(secret, 'salt', 'purpose')).toEqual(derived[0]);
    expect(derived[0]).toHaveLength(32);
  });
});

describe('tags and comparison', () => {
  it('tell lists apart that join to the same text', () => {
    const key = randomBytes(32);
    const parts = fc.array(fc.string({ maxLength: 4 }), { maxLength: 4 });
    fc.assert(
      fc.property(parts, parts, (a, b) => {
        fc.pre(JSON.stringify(a) !== JSON.stringify(b));
        expect(hmac(key, ...a)).not.toEqual(hmac(key, ...b));
      }),
    );
    expect(hmac(key, 'ab', 'c')).not.toEqual(hmac(key, 'a', 'bc'));
    expect(hmac(key, '1:a')).not.toEqual(hmac(key, '', 'a'));
  });

  it('compares texts of any length', () => {
    expect(equals('', '')).toBe(true);
    expect(equals('secret', 'secret')).toBe(true);
    expect(equals('secret', 'secret ')).toBe(false);
    expect(equals('secret', 'Secret')).toBe(false);
  });
});

describe('people’s passwords', () => {
  it('are argon2id with at least the OWASP parameters', async () => {
    const passwords = new Passwords();
    const phc = await passwords.hash('wonderland');
    expect(phc).toMatch(/^\$argon2id\$v=19\$m=19456,/);
    expect(phc).toMatch(/t=2/);
    expect(passwords.isOutdated(phc)).toBe(false);
    await expect(passwords.verify(phc, 'wonderland')).resolves.toBe(true);
    await expect(passwords.verify(phc, 'Wonderland')).resolves.toBe(false);
    await expect(passwords.hash('wonderland')).resolves.not.toBe(phc);
  });

  it('are hashed as the reference implementation hashes them, and read what it has written', async () => {
    const passwords = new Passwords();
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'grapheme' }), async (password) => {
        const text = password.normalize('NFKC');
        const theirs = await reference.hash(text, { memoryCost: 19_456, timeCost: 2, parallelism: 1 });
        expect(await passwords.verify(theirs, password)).toBe(true);
        expect(await passwords.verify(theirs, `${password}x`)).toBe(false);
        expect(passwords.isOutdated(theirs)).toBe(false);
        expect(await reference.verify(await passwords.hash(password), text)).toBe(true);
      }),
      { numRuns: 10 },
    );
  });

  it.each([
    ['less memory', { memoryCost: 4096 }],
    ['one pass', { timeCost: 1 }],
    ['two lanes', { parallelism: 2 }],
    ['argon2i', { type: 1 as const }],
    ['version 1.0', { version: 0x10 }],
  ])('made with %s are known, and to be hashed again', async (_what, other) => {
    const passwords = new Passwords();
    const theirs = await reference.hash('wonderland', { memoryCost: 19_456, timeCost: 2, parallelism: 1, ...other });
    expect(await passwords.verify(theirs, 'wonderland')).toBe(true);
    expect(passwords.isOutdated(theirs)).toBe(true);
  });

  it('are the same typed on any keyboard (NFKC)', async () => {
    const passwords = new Passwords();
    const phc = await passwords.hash('caf\u00E9 \uFB01');
    await expect(passwords.verify(phc, 'cafe\u0301 fi')).resolves.toBe(true);
  });

  it('cost an unknown user as many hashes as a known one, whatever was typed', async () => {
    const passwords = new Passwords();
    const phc = await passwords.hash('wonderland');
    const cost = async (stored: string | undefined, password: string) => {
      const before = passwords.hashes;
      expect(await passwords.verify(stored, password)).toBe(stored !== undefined && password === 'wonderland');
      return passwords.hashes - before;
    };
    expect([await cost(phc, 'wrong'), await cost(phc, 'wonderland'), await cost(undefined, 'wonderland')]).toEqual([
      1, 1, 1,
    ]);
  });

  it('wait in a bounded queue: beyond it "try again", and the queue goes on', async () => {
    const passwords = new Passwords({ cores: 1, queueLimit: 2 });
    const phc = await new Passwords().hash('x');
    const tries = Array.from({ length: 5 }, () => passwords.verify(phc, 'x'));
    expect(passwords.queued).toBe(2);
    const outcomes = await Promise.allSettled(tries);
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
    expect(refused.map(({ reason }) => [reason instanceof Unavailable, reason.retryAfter])).toEqual([
      [true, 5],
      [true, 5],
    ]);
    expect(outcomes.filter((outcome) => outcome.status === 'fulfilled').map(({ value }) => value)).toEqual([
      true,
      true,
      true,
    ]);
    expect(passwords.queued).toBe(0);
    await expect(passwords.verify(phc, 'x')).resolves.toBe(true);
  });

  it('are hashed two at once, and one at once where a process has no two cores', async () => {
    const taken = async (cores: number) => {
      const passwords = new Passwords({ cores, queueLimit: 0 });
      const outcomes = await Promise.allSettled([1, 2, 3].map(() => passwords.verify(undefined, 'x')));
      return outcomes.filter(({ status }) => status === 'fulfilled').length;
    };
    expect(await Promise.all([0.5, 1, 1.5, 2, 64].map(taken))).toEqual([1, 1, 1, 2, 2]);
  });

  it('give their turn back when hashing fails', async () => {
    const passwords = new Passwords({ cores: 1, queueLimit: 0 });
    await expect(passwords.verify('not a hash', 'x')).rejects.toThrow();
    await expect(passwords.verify(undefined, 'x')).resolves.toBe(false);
  });
});
