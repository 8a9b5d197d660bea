import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { KeyEncryption } from '../../src/protocol/key-encryption.ts';

const [old, fresh] = [randomBytes(32), randomBytes(32)];
const text = Buffer.from('a private key');

describe('encryption at rest', () => {
  it('opens what it sealed, for the same purpose', () => {
    const encryption = new KeyEncryption([fresh], randomBytes);
    const sealed = encryption.seal(text, 'signing key a');
    expect(sealed.ciphertext.includes(text)).toBe(false);
    expect(encryption.open(sealed, 'signing key a')).toEqual(text);
    expect(() => encryption.open(sealed, 'signing key b')).toThrow(/GATEHOUSE_KEY_ENCRYPTION_KEY/);
  });

  it('writes with the first key of the list and reads with all', () => {
    const before = new KeyEncryption([old], randomBytes);
    const during = new KeyEncryption([fresh, old], randomBytes);
    const after = new KeyEncryption([fresh], randomBytes);
    const written = before.seal(text, 'x');
    expect(during.open(written, 'x')).toEqual(text);
    const rewritten = during.seal(text, 'x');
    expect(rewritten.keyName).toBe(during.writer);
    expect(during.writer).toBe(after.writer);
    expect(during.writer).not.toBe(before.writer);
    expect(after.open(rewritten, 'x')).toEqual(text);
  });

  it('says which variable is wrong and which key is missing, and nothing of any key', () => {
    const written = new KeyEncryption([old], randomBytes).seal(text, 'signing key k');
    const open = () => new KeyEncryption([fresh], randomBytes).open(written, 'signing key k');
    expect(open).toThrow(/^GATEHOUSE_KEY_ENCRYPTION_KEY does not open the stored signing key k/);
    expect(open).toThrow(new RegExp(written.keyName));
    for (const key of [old, fresh]) {
      expect(written.keyName).not.toContain(key.toString('hex').slice(0, 8));
      expect(open).not.toThrow(new RegExp(key.toString('hex').slice(0, 8)));
    }
  });

  it('refuses a ciphertext under a name it was not written with', () => {
    const both = new KeyEncryption([fresh, old], randomBytes);
    const written = new KeyEncryption([old], randomBytes).seal(text, 'x');
    expect(() => both.open({ ...written, keyName: both.writer }, 'x')).toThrow(/GATEHOUSE_KEY_ENCRYPTION_KEY/);
    expect(() => both.open({ ...written, ciphertext: Buffer.alloc(3) }, 'x')).toThrow(/GATEHOUSE_KEY_ENCRYPTION_KEY/);
  });

  it('does not exist without a key', () => {
    expect(() => new KeyEncryption([], randomBytes)).toThrow();
  });
});
