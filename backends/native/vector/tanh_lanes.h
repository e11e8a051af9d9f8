/* tanh of F32 for 16 lanes of AVX-512: a polynomial for each of 26 intervals, its coefficients
 * looked up in registers. Nothing is divided and no power of e is taken: results come after 37
 * cycles, and a third sooner in bulk than from the vector library of glibc. Errors are at most 1.21
 * ulp. */
#ifndef BACKENDS_NATIVE_VECTOR_TANH_LANES_H
#define BACKENDS_NATIVE_VECTOR_TANH_LANES_H

#ifdef __AVX512F__
#include "backends/native/vector/lanes.h"

/* Of |x| the interval is told by the exponent and the first two bits behind the point, so that each
 * power of 2 from 1/8 to 8 has four; all below 1/8 is one, and from 8 on tanh is 1 in the end. The
 * bits of 1/8 begin with 496: tables are read from there on, modulo 32. tanh(c + d) = value +
 * first d + ... + fifth d^5; centers c are such that the value is nearly a float. The polynomials
 * are fits of ours (least squares of the relative error, weights moved until the largest is
 * smallest), off by 1.4e-8 of the whole at most. */
/* clang-format off */
static const float tanh_centers[32] = {
    2.24842215F, 2.74561214F, 3.24575639F, 3.74624276F, 4.49488544F, 5.49239111F, 6.49243546F,
    7.50953674F, 8.56907368F, 0, 0, 0, 0, 0, 0, 0, 0.140598401F, 0.171624944F, 0.202835843F,
    0.23421894F, 0.281213075F, 0.343338817F, 0.405702382F, 0.468162209F, 0.561449885F,
    0.686545432F, 0.81140244F, 0.936467588F, 1.12357819F, 1.37361896F, 1.623734F, 1.87300956F,
};
static const float tanh_values[32] = {
    0.977957428F, 0.991788268F, 0.996972084F, 0.998886108F, 0.999750674F, 0.999966085F,
    0.99999541F, 0.999999404F, 0.99999994F, 0, 0, 0, 0, 0, 0, 0, 0.139679223F, 0.169959486F,
    0.200099155F, 0.230027914F, 0.274027437F, 0.330454886F, 0.384817541F, 0.436713219F,
    0.509052396F, 0.59575814F, 0.670363188F, 0.733595073F, 0.808809936F, 0.879514337F,
    0.925164044F, 0.953866184F,
};
static const float tanh_firsts[32] = {
    0.0435992628F, 0.0163560268F, 0.00604666257F, 0.00222654222F, 0.000498598383F,
    6.78296346e-05F, 9.17919806e-06F, 1.20049094e-06F, 1.44229276e-07F, 0, 0, 0, 0, 0, 0, 1,
    0.980489731F, 0.971113801F, 0.959960341F, 0.947087169F, 0.924908936F, 0.890799582F,
    0.851915479F, 0.809281588F, 0.740865648F, 0.645072222F, 0.550613225F, 0.461838275F,
    0.345826477F, 0.226454526F, 0.14407149F, 0.0901392996F,
};
static const float tanh_seconds[32] = {
    -0.0426370166F, -0.0162208006F, -0.00602794485F, -0.00222390168F, -0.000497859903F,
    -6.77437492e-05F, -9.16791396e-06F, -1.33200922e-06F, -4.73934392e-07F, 0, 0, 0, 0, 0, 0, 0,
    -0.136954069F, -0.16505F, -0.192087218F, -0.217856437F, -0.253450394F, -0.294369042F,
    -0.327831984F, -0.353423953F, -0.377139181F, -0.384306967F, -0.369110882F, -0.338802397F,
    -0.279709846F, -0.199171171F, -0.133290201F, -0.0859808996F,
};
static const float tanh_thirds[32] = {
    0.0271660481F, 0.0106368717F, 0.00399464229F, 0.0014794186F, 0.000331879448F, 4.51887317e-05F,
    6.11578116e-06F, 7.8943998e-07F, 5.48394183e-08F, 0, 0, 0, 0, 0, 0, -0.333325982F,
    -0.307700455F, -0.295652777F, -0.281550199F, -0.265582532F, -0.238850743F, -0.199657485F,
    -0.157816231F, -0.115415536F, -0.0549716651F, 0.0139296595F, 0.0639001802F, 0.0945972204F,
    0.11095465F, 0.0996884033F, 0.0752914771F, 0.0519679822F,
};
static const float tanh_fourths[32] = {
    -0.0124168433F, -0.00518950261F, -0.00199422543F, -0.000744728313F, -0.000173699649F,
    -2.36704891e-05F, -3.2037633e-06F, 1.12829134e-07F, 1.04912499e-06F, 0, 0, 0, 0, 0, 0, 0,
    0.0887186527F, 0.10524831F, 0.120220333F, 0.133526579F, 0.149839222F, 0.1640158F,
    0.169922143F, 0.168143764F, 0.153493509F, 0.119740851F, 0.0802399665F, 0.0436290428F,
    0.00389779382F, -0.0210476071F, -0.025136862F, -0.0208958462F,
};
static const float tanh_fifths[32] = {
    0.0039767134F, 0.00191629468F, 0.0007712355F, 0.000292946002F, 6.85905761e-05F,
    9.31893828e-06F, 1.26179407e-06F, 2.48530824e-07F, 2.93951643e-07F, 0, 0, 0, 0, 0, 0,
    0.132077828F, 0.11265403F, 0.102186427F, 0.0910263881F, 0.0785299242F, 0.059183564F,
    0.0320676006F, 0.0060106134F, -0.0170967672F, -0.0433422849F, -0.0615250319F, -0.0626681894F,
    -0.053078115F, -0.0321120732F, -0.00955103524F, 0.00138144696F, 0.00459725223F,
};
/* clang-format on */

static inline __m512 tanh_lanes(__m512 x)
{
#define COEFFICIENT(name) lanes_look_up(tanh_##name, interval)
    enum { BELOW_EIGHTH = 495, BITS_BEHIND = 21 };
    const __m512 bound = _mm512_set1_ps(9.1F);                       /* tanh is 1 from there on */
    const __m512 magnitude = _mm512_min_ps(bound, _mm512_abs_ps(x)); /* of NaN NaN */
    const __m512i begin = _mm512_srli_epi32(_mm512_castps_si512(magnitude), BITS_BEHIND);
    const __m512i interval = _mm512_max_epi32(begin, _mm512_set1_epi32(BELOW_EIGHTH));
    const __m512 d = _mm512_sub_ps(magnitude, COEFFICIENT(centers)); /* exact */
    const __m512 high = _mm512_fmadd_ps(COEFFICIENT(fifths), d, COEFFICIENT(fourths));
    const __m512 low = _mm512_fmadd_ps(COEFFICIENT(thirds), d, COEFFICIENT(seconds));
    __m512 y = _mm512_fmadd_ps(high, _mm512_mul_ps(d, d), low);
    y = _mm512_fmadd_ps(y, d, COEFFICIENT(firsts));
    y = _mm512_fmadd_ps(y, d, COEFFICIENT(values));
    const __m512i sign = _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(INT32_MIN));
    return _mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(y), sign));
#undef COEFFICIENT
}
#endif

#endif
