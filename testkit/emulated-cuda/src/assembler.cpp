// PTX, as far as tests need it: the driver's assembler is NVIDIA's alone.
//
// It checks that every statement begins with a directive or an instruction that it knows, finds the kernels and makes
// an image that names them; what such a kernel does is compiled from the CUDA source of the same name. It looks at no
// operand, so PTX that passes here may still be refused by a real driver; what is refused here is refused there.
#include "device.h"

#include <algorithm>
#include <cctype>

namespace driver {
namespace {

const std::set<std::string> DIRECTIVES = {
    ".version", ".target", ".address_size", ".visible", ".extern", ".weak",  ".entry",   ".func",    ".param",
    ".reg",     ".global", ".const",        ".shared",  ".local",  ".align", ".maxntid", ".reqntid", ".minnctapersm",
    ".maxnreg", ".pragma", ".loc",          ".file",
};

const std::set<std::string> INSTRUCTIONS = {
    "abs",  "add",   "addc",  "and",   "atom", "bar",       "barrier", "bfe",   "bfi",  "bra",  "brev",  "call",
    "clz",  "cnot",  "cos",   "cvt",   "cvta", "div",       "ex2",     "exit",  "fence", "fma", "isspacep", "ld",
    "ldu",  "lg2",   "mad",   "mad24", "max",  "membar",    "min",     "mov",   "mul",  "mul24", "nanosleep", "neg",
    "not",  "or",    "popc",  "prmt",  "rcp",  "red",       "rem",     "ret",   "rsqrt", "sad", "selp",  "set",
    "setp", "shf",   "shfl",  "shl",   "shr",  "sin",       "slct",    "sqrt",  "st",   "sub",  "testp", "trap",
    "vote", "xor",
};

struct statement {
    std::vector<std::string> words;
    unsigned line;
};

/// The text without comments; line breaks stay.
std::string without_comments(const std::string &text) {
    std::string out;
    for (size_t i = 0; i < text.size(); i++) {
        if (text.compare(i, 2, "//") == 0) {
            while (i < text.size() && text[i] != '\n') i++;
            out += '\n';
        } else if (text.compare(i, 2, "/*") == 0) {
            size_t end = std::min(text.find("*/", i + 2), text.size());
            out.append(static_cast<size_t>(std::count(&text[i], &text[i] + (end - i), '\n')), '\n');
            i = end + 1;
        } else {
            out += text[i];
        }
    }
    return out;
}

/// Statements end with a semicolon, a brace, a label's colon, or, for directives of the head, with their line.
std::vector<statement> statements(const std::string &text) {
    std::vector<statement> all;
    statement now{{}, 1};
    std::string word;
    unsigned line = 1;
    auto end_word = [&] {
        if (word.empty()) return;
        if (now.words.empty()) now.line = line;
        now.words.push_back(std::move(word));
        word.clear();
    };
    auto end_statement = [&] {
        end_word();
        if (!now.words.empty()) all.push_back(std::move(now));
        now = {{}, line};
    };
    unsigned brackets = 0;
    for (char letter : text) {
        bool in_head = !now.words.empty() && (now.words[0] == ".version" || now.words[0] == ".target" ||
                                              now.words[0] == ".address_size" || now.words[0] == ".loc" || now.words[0] == ".file");
        if (letter == '(' || letter == '[') brackets++;
        if (letter == ')' || letter == ']') brackets -= brackets > 0;
        if (letter == ';' || letter == '{' || letter == '}' || (letter == '\n' && in_head)) {
            end_statement();
            brackets = 0;
        } else if (letter == ':' && now.words.empty()) {
            word.clear();
        } else if (isspace(static_cast<unsigned char>(letter)) || letter == '(' || letter == ',') {
            end_word();
        } else {
            word += letter;
        }
        line += letter == '\n';
    }
    end_statement();
    return all;
}

void put(std::vector<char> &image, size_t at, uint64_t value, size_t size) { memcpy(&image[at], &value, size); }

/// An ELF image with one string table, which holds the names, and a section of variables if there are any.
std::vector<char> image_of(const std::vector<std::string> &names, bool has_variables) {
    constexpr size_t HEADER = 64, SECTION = 64;
    const std::string variables = ".nv.global";
    std::string strings(1, '\0');
    size_t variables_at = strings.size();
    if (has_variables) strings += variables + '\0';
    for (const auto &name : names) strings += name + '\0';
    size_t sections = has_variables ? 3 : 2, table = (HEADER + strings.size() + 7) / 8 * 8;
    std::vector<char> image(table + sections * SECTION);
    memcpy(image.data(), "\x7f""ELF\x02\x01\x01", 7);
    put(image, 0x10, 2, 2);
    put(image, 0x12, 190, 2);
    put(image, 0x28, table, 8);
    put(image, 0x3a, SECTION, 2);
    put(image, 0x3c, sections, 2);
    put(image, 0x3e, 1, 2);
    memcpy(&image[HEADER], strings.data(), strings.size());
    size_t strings_at = table + SECTION;
    put(image, strings_at + 0x04, 3, 4);
    put(image, strings_at + 0x18, HEADER, 8);
    put(image, strings_at + 0x20, strings.size(), 8);
    if (has_variables) {
        put(image, strings_at + SECTION, variables_at, 4);
        put(image, strings_at + SECTION + 0x04, 8, 4);
        put(image, strings_at + SECTION + 0x20, 4, 8);
    }
    return image;
}

} // namespace

std::vector<char> assemble(const std::string &text, std::string &log) {
    std::vector<std::string> names;
    bool has_variables = false;
    auto refuse = [&](unsigned line, const std::string &what) {
        log = "ptxas application ptx input, line " + std::to_string(line) + "; " + what +
              "\nptxas fatal   : Ptx assembly aborted due to errors\n";
        return std::vector<char>();
    };
    auto all = statements(without_comments(text));
    if (all.empty() || all[0].words[0] != ".version") return refuse(1, "fatal   : Missing .version directive at start of file");
    for (const auto &[words, line] : all) {
        size_t first = words[0][0] == '@' && words.size() > 1 ? 1 : 0;
        const std::string &word = words[first];
        if (word[0] == '.') {
            if (!DIRECTIVES.count(word)) return refuse(line, "fatal   : Parsing error near '" + word + "': syntax error");
            has_variables |= std::find(words.begin(), words.end(), ".global") != words.end();
            auto entry = std::find(words.begin(), words.end(), ".entry");
            if (entry != words.end() && entry + 1 != words.end()) names.push_back(entry[1]);
        } else if (!INSTRUCTIONS.count(word.substr(0, word.find('.')))) {
            return refuse(line, "error   : Not a name of any known instruction: '" + word.substr(0, word.find('.')) + "'");
        }
    }
    return image_of(names, has_variables);
}

namespace {

/// A link that was begun.
struct link {
    char *log = nullptr;
    size_t log_size = 0;
    std::vector<char> image;
};

std::set<link *> links;

} // namespace
} // namespace driver

using namespace driver;

DRIVER int cuLinkCreate_v2(unsigned count, const int *options, void **values, driver::link **created) {
    IN_CONTEXT;
    constexpr int ERROR_LOG = 5, ERROR_LOG_SIZE = 6;
    *created = new driver::link;
    for (unsigned i = 0; i < count; i++) {
        if (options[i] == ERROR_LOG) (*created)->log = static_cast<char *>(values[i]);
        if (options[i] == ERROR_LOG_SIZE) (*created)->log_size = reinterpret_cast<size_t>(values[i]);
    }
    links.insert(*created);
    return SUCCESS;
}

DRIVER int cuLinkAddData_v2(driver::link *to, int type, const void *data, size_t size, const char *, unsigned,
                            const int *, void **) {
    IN_CONTEXT;
    constexpr int PTX = 1;
    if (!links.count(to) || type != PTX || size == 0) return INVALID_VALUE;
    auto text = static_cast<const char *>(data);
    if (text[size - 1] != '\0') return INVALID_VALUE;
    std::string log;
    to->image = assemble(std::string(text, size - 1), log);
    if (!to->image.empty()) return SUCCESS;
    if (to->log && to->log_size) {
        strncpy(to->log, log.c_str(), to->log_size - 1);
        to->log[to->log_size - 1] = '\0';
    }
    return INVALID_PTX;
}

DRIVER int cuLinkComplete(driver::link *completed, void **image, size_t *size) {
    IN_CONTEXT;
    if (!links.count(completed) || completed->image.empty()) return INVALID_VALUE;
    *image = completed->image.data();
    *size = completed->image.size();
    return SUCCESS;
}

DRIVER int cuLinkDestroy(driver::link *destroyed) {
    std::lock_guard<std::mutex> held(lock);
    if (!links.erase(destroyed)) return INVALID_HANDLE;
    delete destroyed;
    return SUCCESS;
}
