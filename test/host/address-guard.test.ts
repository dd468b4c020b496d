import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { AddressGuard } from "../../src/host/address-guard.ts"

const strict = new AddressGuard({ allowPrivate: [], isOwnListener: () => false })

describe("address guard", () => {
  it("lets public addresses through", () => {
    for (const address of ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450:4001:830::200e"]) {
      assert.equal(strict.refusal(address, 443), undefined, address)
    }
  })

  it("refuses every special address in every spelling", () => {
    const special = [
      ...[
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
      ],
      ...["169.254.169.254", "169.254.0.1", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192"],
      ...["224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "203.0.113.1"],
      ...["::", "::1", "::127.0.0.1", "::a00:1", "::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:10.0.0.1"],
      ...["::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "64:ff9b::808:808"],
      ...[
        "2002:7f00:1::",
        "2002:a00:1::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:db8::1",
        "3fff::1",
      ],
      ...["fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "100::1", "5f00::1", "4000::1"],
      ...["127.1", "0x7f.0.0.1", "2130706433", "017700000001", "localhost", "", "1.1.1.1.", " 1.1.1.1"],
    ]
    for (const address of special) assert.notEqual(strict.refusal(address, 80), undefined, address)
  })

  it("allows a private address only with exactly the port the operator named", () => {
    const guard = new AddressGuard({ allowPrivate: ["10.0.0.5:8080", "[fd00::1]:80"], isOwnListener: () => false })
    assert.equal(guard.refusal("10.0.0.5", 8080), undefined)
    assert.equal(guard.refusal("::ffff:10.0.0.5", 8080), undefined)
    assert.equal(guard.refusal("fd00:0::1", 80), undefined)
    assert.notEqual(guard.refusal("10.0.0.5", 80), undefined)
    assert.notEqual(guard.refusal("10.0.0.6", 8080), undefined)
  })

  it("never allows this server's own listeners, not even when the operator names them", () => {
    const guard = new AddressGuard({
      allowPrivate: ["127.0.0.1:3000"],
      isOwnListener: (address, port) => address === "127.0.0.1" && port === 3000,
    })
    assert.equal(guard.refusal("127.0.0.1", 3000), "this server itself")
    assert.equal(guard.refusal("::ffff:127.0.0.1", 3000), "this server itself")
  })

  it("refuses entries of allow_private that are not one address and port", () => {
    for (const entry of ["10.0.0.0/8:80", "10.0.0.1", "localhost:80", "10.0.0.1:0", "10.0.0.1:70000", "fd00::1:80"]) {
      assert.throws(() => new AddressGuard({ allowPrivate: [entry], isOwnListener: () => false }), TypeError, entry)
    }
  })
})
