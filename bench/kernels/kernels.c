/* What plugins compute, one function each: every one takes how much to do and returns a number that shows it was done. */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define EXPORT(name) __attribute__((export_name(#name), noinline)) int name

static u32 state;
static u32 next_random(void) {
  state ^= state << 13;
  state ^= state >> 17;
  return state ^= state << 5;
}

EXPORT(empty_loop)(int turns) {
  int i;
  for (i = 0; i < turns; i++) __asm__ volatile("");
  return i;
}

/* SHA-256, FIPS 180-4. */
static const u32 K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
static u32 rotate(u32 x, int by) { return x >> by | x << (32 - by); }
static void sha256_block(u32 h[8], const u8 *block) {
  u32 w[64], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], k = h[7];
  for (int i = 0; i < 16; i++) w[i] = (u32)block[4 * i] << 24 | block[4 * i + 1] << 16 | block[4 * i + 2] << 8 | block[4 * i + 3];
  for (int i = 16; i < 64; i++)
    w[i] = w[i - 16] + (rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
           (rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10);
  for (int i = 0; i < 64; i++) {
    u32 t = k + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + w[i];
    u32 s = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    k = g, g = f, f = e, e = d + t, d = c, c = b, b = a, a = t + s;
  }
  h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e, h[5] += f, h[6] += g, h[7] += k;
}
static u8 message[64 * 1024];
EXPORT(sha256)(int times) {
  u32 h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  for (int i = 0; i < (int)sizeof message; i++) message[i] = (u8)i;
  for (int i = 0; i < times; i++)
    for (int at = 0; at < (int)sizeof message; at += 64) sha256_block(h, message + at);
  return (int)h[0];
}

#define SIDE 128
static double left[SIDE][SIDE], right[SIDE][SIDE], product[SIDE][SIDE];
EXPORT(matmul)(int times) {
  for (int i = 0; i < SIDE; i++)
    for (int j = 0; j < SIDE; j++) left[i][j] = i + j, right[i][j] = i - j;
  while (times-- > 0)
    for (int i = 0; i < SIDE; i++)
      for (int j = 0; j < SIDE; j++) {
        double sum = 0;
        for (int k = 0; k < SIDE; k++) sum += left[i][k] * right[k][j];
        product[i][j] = sum;
      }
  return (int)product[3][5];
}

EXPORT(mandelbrot)(int side) {
  int inside = 0;
  for (int py = 0; py < side; py++)
    for (int px = 0; px < side; px++) {
      double cx = 3.0 * px / side - 2, cy = 2.0 * py / side - 1, x = 0, y = 0;
      int i = 0;
      for (; i < 100 && x * x + y * y <= 4; i++) {
        double t = x * x - y * y + cx;
        y = 2 * x * y + cy;
        x = t;
      }
      inside += i == 100;
    }
  return inside;
}

static int numbers[400000];
static void fill(int count) {
  state = 2463534242u;
  for (int i = 0; i < count; i++) numbers[i] = (int)(next_random() >> 1);
}
static void sort_range(int *a, int low, int high) {
  while (low < high) {
    int i = low, j = high, pivot = a[(low + high) / 2];
    while (i <= j) {
      while (a[i] < pivot) i++;
      while (a[j] > pivot) j--;
      if (i <= j) {
        int t = a[i];
        a[i++] = a[j];
        a[j--] = t;
      }
    }
    sort_range(a, low, j);
    low = i;
  }
}
EXPORT(quicksort)(int count) {
  fill(count);
  sort_range(numbers, 0, count - 1);
  return numbers[count / 3];
}

typedef int (*Compare)(const int *, const int *);
static int ascending(const int *a, const int *b) { return (*a > *b) - (*a < *b); }
static int descending(const int *a, const int *b) { return (*a < *b) - (*a > *b); }
static Compare volatile comparators[2] = {ascending, descending};
static void sift(int *a, int root, int count, Compare compare) {
  for (int child; (child = 2 * root + 1) < count; root = child) {
    if (child + 1 < count && compare(&a[child], &a[child + 1]) < 0) child++;
    if (compare(&a[root], &a[child]) >= 0) return;
    int t = a[root];
    a[root] = a[child];
    a[child] = t;
  }
}
EXPORT(heapsort)(int count) {
  Compare compare = comparators[count & 1];
  fill(count);
  for (int i = count / 2 - 1; i >= 0; i--) sift(numbers, i, count, compare);
  for (int end = count - 1; end > 0; end--) {
    int t = numbers[0];
    numbers[0] = numbers[end];
    numbers[end] = t;
    sift(numbers, 0, end, compare);
  }
  return numbers[count / 3];
}

/* Nothing but calls: clang would make a loop of one of the two. */
__attribute__((disable_tail_calls)) EXPORT(fib)(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

/* Takeuchi's function: calls out of a loop. */
static int takeuchi(int x, int y, int z) {
  return y >= x ? z : takeuchi(takeuchi(x - 1, y, z), takeuchi(y - 1, z, x), takeuchi(z - 1, x, y));
}
EXPORT(tak)(int n) { return takeuchi(n, n / 2, 3); }

static u8 composite[2000000];
EXPORT(sieve)(int limit) {
  int primes = 0;
  for (int i = 0; i < limit; i++) composite[i] = 0;
  for (int i = 2; i < limit; i++) {
    if (composite[i]) continue;
    primes++;
    for (int j = 2 * i; j < limit; j += i) composite[j] = 1;
  }
  return primes;
}

static const char REQUEST[] =
    "GET /products/42?color=red HTTP/1.1\r\nHost: shop.example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n"
    "Accept: text/html,application/xhtml+xml\r\nAccept-Language: en-GB,en;q=0.7,de;q=0.3\r\nAccept-Encoding: gzip, br\r\n"
    "Cookie: session=8f2a1c; theme=dark\r\nCache-Control: no-cache\r\nX-Request-Id:  01HZY \r\nContent-Length: 1234\r\n\r\n";
static int lower(int c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; }
static int is_token(int c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '!';
}
static int parse_headers(const char *text, int length, u32 *names, u32 *values) {
  int at = 0, count = 0;
  while (at < length && text[at] != '\n') at++;
  at++;
  while (at < length && text[at] != '\r') {
    u32 name = 2166136261u, value = 2166136261u;
    while (at < length && is_token(text[at])) name = (name ^ (u32)lower(text[at++])) * 16777619u;
    if (at >= length || text[at++] != ':') return -1;
    while (at < length && (text[at] == ' ' || text[at] == '\t')) at++;
    int end = at;
    while (end < length && text[end] != '\r') end++;
    int last = end;
    while (last > at && text[last - 1] == ' ') last--;
    for (int i = at; i < last; i++) value = (value ^ (u8)text[i]) * 16777619u;
    names[count] = name;
    values[count++] = value;
    at = end + 2;
  }
  return count;
}
EXPORT(parse_header)(int times) {
  u32 names[32], values[32], sum = 0;
  for (int i = 0; i < times; i++) {
    int count = parse_headers(REQUEST, sizeof REQUEST - 1, names, values);
    for (int j = 0; j < count; j++) sum = sum * 31 + names[j] + values[j];
  }
  return (int)sum;
}
